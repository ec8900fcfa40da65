-- The cube: customers go in, sums come out. Read it from top to bottom: it is the way of the data.
-- In: assignments, purchases or outcomes, contacts, cells(arm, stratum, cell). Portable subset of section 10.

-- name: earlier
-- Contacts of the test's customers: before their assignment (history, which the test neither pays nor counts), after its last
-- month, and those in it.
SELECT count(CASE WHEN month < 0 THEN 1 END) AS before, count(CASE WHEN month >= {months} THEN 1 END) AS after
FROM ({counted}) AS clocked;

-- name: counted
-- Contacts on the clock of the test: whole months since assignment; one without a day counts as one of its first month.
SELECT c.*, coalesce(
           EXTRACT(YEAR FROM {day}) * 12 + EXTRACT(MONTH FROM {day}) - EXTRACT(YEAR FROM a."at") * 12 - EXTRACT(MONTH FROM a."at")
               - CASE WHEN EXTRACT(DAY FROM {day}) < EXTRACT(DAY FROM a."at") THEN 1 ELSE 0 END, 0) AS month
FROM contacts AS c JOIN assigned AS a ON c.customer_id = a.customer_id
WHERE {this_experiment}

-- name: once
-- Most customers are contacted once: then a contact is a customer, and nothing need be grouped.
CREATE TEMP VIEW once AS
SELECT customer_id, 1 AS attempts,
       CAST(CASE WHEN {reached} THEN 1 ELSE 0 END AS SMALLINT) AS reached,
       CAST(CASE WHEN accepted_at IS NOT NULL THEN 1 ELSE 0 END AS SMALLINT) AS accepted
FROM {contacts};

-- name: several
-- One row a contacted customer, where some were contacted more than once.
CREATE TEMP VIEW several AS
SELECT customer_id,
       CAST(count(*) AS INTEGER) AS attempts,
       CAST(max(CASE WHEN {reached} THEN 1 ELSE 0 END) AS SMALLINT) AS reached,
       CAST(max(CASE WHEN accepted_at IS NOT NULL THEN 1 ELSE 0 END) AS SMALLINT) AS accepted
FROM {contacts}
GROUP BY customer_id;

-- name: followed
-- One row an assigned customer: when its clock started, how many whole months it was followed, and its lane:
-- 2 * cell + accepted, where cell = number of (arm, stratum) * buckets + bucket.
CREATE OR REPLACE TEMP TABLE followed AS
SELECT a.customer_id,
       CAST(2 * (c.cell * {buckets} + a.bucket) + coalesce(k.accepted, 0) AS INTEGER) AS lane,
       CAST(a.month0 AS INTEGER) AS month0,
       CAST(a.day0 AS SMALLINT) AS day0,
       CAST(greatest(0, least({months}, {until_month} - a.month0 - CASE WHEN {until_day} < a.day0 THEN 1 ELSE 0 END))
            AS SMALLINT) AS months,
       CAST(coalesce(k.attempts, {unasked}) AS INTEGER) AS attempts,
       CAST(coalesce(k.reached, {unasked}) AS SMALLINT) AS reached
FROM (
    SELECT *, EXTRACT(YEAR FROM "at") * 12 + EXTRACT(MONTH FROM "at") AS month0, EXTRACT(DAY FROM "at") AS day0
    FROM assigned
) AS a
JOIN cells AS c ON a.arm = c.arm AND a.stratum = c.stratum
LEFT JOIN {attempts} AS k ON a.customer_id = k.customer_id;

-- name: assigned_sums
SELECT lane, months, count(*) AS assigned, sum(attempts) AS attempts, sum(reached) AS reached
FROM followed GROUP BY lane, months;

-- name: activity
-- Purchases of assigned customers on the clock of the test: whole months since assignment.
-- Month -1 is before the assignment, {outside} after the customer's last whole month of follow-up.
CREATE TEMP TABLE activity AS
SELECT customer_id, lane, months, value, bought{kept},
       CAST(CASE WHEN month < 0 THEN -1 WHEN month >= months THEN {outside} ELSE month END AS SMALLINT) AS month
FROM (
    SELECT f.customer_id, f.lane, f.months, p.{value} AS value, p.amount > 0 AS bought{amount},
           EXTRACT(YEAR FROM p."at") * 12 + EXTRACT(MONTH FROM p."at") - f.month0
               - CASE WHEN EXTRACT(DAY FROM p."at") < f.day0 THEN 1 ELSE 0 END AS month
    FROM followed AS f JOIN purchases AS p ON f.customer_id = p.customer_id
) AS clocked;

-- name: lives
-- One row a returned customer. Its second lifetime is one number: bit k is 1 if it bought k months after the first.
CREATE TEMP TABLE lives AS
SELECT customer_id, lane, months, first, last, total, bits >> first AS life
FROM (
    SELECT customer_id, max(lane) AS lane, max(months) AS months, CAST(min(month) AS INTEGER) AS first,
           CAST(max(month) AS INTEGER) AS last, {total} AS total, bit_or(CAST(1 AS BIGINT) << month) AS bits
    FROM activity
    WHERE month >= 0 AND month < {outside} AND bought
    GROUP BY customer_id
) AS returned;

-- name: cap
-- The value that one in a hundred of all assigned customers passes.
SELECT total FROM lives ORDER BY total DESC LIMIT 1 OFFSET {passing};

-- name: value_sums
SELECT lane, month, count(*) AS purchases, sum(value) AS value
FROM activity GROUP BY lane, month;

-- name: excess_sums
-- What winsorising takes away: who brought more than the cap counts with it, spread over the months as it came.
SELECT a.lane, a.month,
       sum(a.value - CAST(floor(CAST(a.value AS DOUBLE) * {cap} / CAST(w.total AS DOUBLE)) AS BIGINT)) AS excess
FROM activity AS a JOIN (SELECT customer_id, total FROM lives WHERE total > {cap}) AS w ON a.customer_id = w.customer_id
WHERE a.month >= 0 AND a.month < {outside}
GROUP BY a.lane, a.month;

-- name: paid_sums
-- What customers paid within {upto} months from their first purchase: a percentage is of this.
SELECT a.lane, a.month, sum(a.{price}) AS paid
FROM activity AS a JOIN lives AS l ON a.customer_id = l.customer_id
WHERE a.month >= l.first AND a.month < l.first + {upto} AND a.month < {outside}
GROUP BY a.lane, a.month;

-- name: life_sums
SELECT lane, first, count(*) AS customers, {life_columns}
FROM lives GROUP BY lane, first;

-- name: left_sums
-- Returned customers by the end of their follow-up: they leave the count of those watched.
SELECT lane, months, count(*) AS customers FROM lives GROUP BY lane, months;

-- name: duration_sums
-- Months from the first to the last purchase. Still buying in the last month of follow-up: stayed, as far as is known.
SELECT lane, last - first + 1 AS months, CASE WHEN last = months - 1 THEN 1 ELSE 0 END AS stayed, count(*) AS customers
FROM lives GROUP BY lane, last - first + 1, CASE WHEN last = months - 1 THEN 1 ELSE 0 END;

-- name: outcome_cap
SELECT {value} FROM outcomes AS o ORDER BY 1 DESC LIMIT 1 OFFSET {passing};

-- name: outcome_sums
-- Results without dates: one row a customer, no clock.
SELECT f.lane, count(o.customer_id) AS known, sum(CASE WHEN o.returned THEN 1 ELSE 0 END) AS returned,
       sum({value}) AS value, sum(least({value}, {cap})) AS value_capped, sum({cost}) AS cost,
       sum(CASE WHEN {took} THEN 1 ELSE 0 END) AS accepted,
       sum(CASE WHEN {took} THEN {value} ELSE 0 END) AS value_accepted
FROM followed AS f LEFT JOIN outcomes AS o ON f.customer_id = o.customer_id
GROUP BY f.lane;
