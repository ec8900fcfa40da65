-- Who returns: customers of a test by what was known of them before, folded into sums.
-- In: assigned, followed, lives, purchases, and customers where there are any. Portable subset of section 10.

-- name: first
-- The first lifetime: what a customer brought before the assignment, and when last.
CREATE TEMP TABLE first AS
SELECT p.customer_id, sum(p.{value}) AS value, max(p."at") AS last,
       count(DISTINCT EXTRACT(YEAR FROM p."at") * 12 + EXTRACT(MONTH FROM p."at")) AS months
FROM purchases AS p JOIN assigned AS a ON p.customer_id = a.customer_id
WHERE p."at" < a."at" AND p.amount > 0
GROUP BY p.customer_id;

-- name: known
CREATE TEMP TABLE known AS
SELECT a.customer_id, a.arm, a.stratum, {complaint} AS complaint, {referred} AS referred,
       CASE WHEN b.customer_id IS NULL THEN 'unknown'
            ELSE CASE NTILE(3) OVER (PARTITION BY b.customer_id IS NULL ORDER BY b.value, a.customer_id)
                 WHEN 1 THEN 'low' WHEN 2 THEN 'middle' ELSE 'high' END END AS first_value,
       CASE WHEN b.customer_id IS NULL THEN 'unknown'
            WHEN date_diff('day', b.last, a."at") < 365 THEN 'under 1 year'
            WHEN date_diff('day', b.last, a."at") < 730 THEN '1 to 2 years'
            ELSE 'over 2 years' END AS absent
FROM assigned AS a LEFT JOIN first AS b ON a.customer_id = b.customer_id {customers};

-- name: sums
-- Per kind of customer: watched to the window, returned within it; of all who returned, how many, how many of them
-- could leave, months they bought, chances to leave, departures, value.
SELECT k.arm, k.stratum, k.complaint, k.referred, k.first_value, k.absent,
       sum(CASE WHEN f.months >= {window} THEN 1 ELSE 0 END) AS watched,
       sum(CASE WHEN f.months >= {window} AND l.first < {window} THEN 1 ELSE 0 END) AS returned,
       count(l.customer_id) AS buyers,
       sum(CASE WHEN l.last > l.first OR l.last < l.months - 1 THEN 1 ELSE 0 END) AS leavable,
       sum(bit_count(l.life)) AS bought,
       sum(l.last - l.first + CASE WHEN l.last < l.months - 1 THEN 1 ELSE 0 END) AS at_risk,
       sum(CASE WHEN l.last < l.months - 1 THEN 1 ELSE 0 END) AS ended,
       sum(l.total) AS value
FROM known AS k JOIN followed AS f ON k.customer_id = f.customer_id
LEFT JOIN lives AS l ON k.customer_id = l.customer_id
GROUP BY k.arm, k.stratum, k.complaint, k.referred, k.first_value, k.absent
ORDER BY k.arm, k.stratum, k.complaint, k.referred, k.first_value, k.absent;  -- else a model's last bit differs

-- name: twice
-- Customers who have lived twice: value and months with a purchase of both lifetimes, by arm and bucket.
SELECT a.arm, a.bucket, sum(b.value) AS first_value, sum(b.months) AS first_months, sum(l.total) AS second_value,
       sum(bit_count(l.life)) AS second_months, count(*) AS customers
FROM assigned AS a JOIN first AS b ON a.customer_id = b.customer_id JOIN lives AS l ON a.customer_id = l.customer_id
GROUP BY a.arm, a.bucket
ORDER BY a.arm, a.bucket;
