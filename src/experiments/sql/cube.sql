-- The cube: customers go in, sums come out. Read it from top to bottom: it is the way of the data.
-- In: assignments, purchases or outcomes, contacts, cells(arm, stratum, cell). Portable subset of section 10.

-- name: attempts
-- One row a contacted customer.
CREATE TEMP TABLE attempts AS
SELECT customer_id,
       count(*) AS attempts,
       max(CASE WHEN {reached} THEN 1 ELSE 0 END) AS reached,
       max(CASE WHEN {accepted} THEN 1 ELSE 0 END) AS accepted
FROM contacts
WHERE {this_experiment}
GROUP BY customer_id;

-- name: followed
-- One row an assigned customer: its cell, when its clock started, how many whole months it was followed.
-- Cell = number of (arm, stratum) * buckets + bucket.
CREATE TEMP TABLE followed AS
SELECT a.customer_id,
       CAST(c.cell * {buckets} + a.bucket AS INTEGER) AS cell,
       CAST(a.month0 AS INTEGER) AS month0,
       CAST(a.day0 AS INTEGER) AS day0,
       CAST(greatest(0, least({months}, {until_month} - a.month0 - CASE WHEN {until_day} < a.day0 THEN 1 ELSE 0 END))
            AS INTEGER) AS months,
       CAST(coalesce(k.attempts, {unasked}) AS INTEGER) AS attempts,
       CAST(coalesce(k.reached, {unasked}) AS INTEGER) AS reached,
       CAST(coalesce(k.accepted, 0) AS INTEGER) AS accepted
FROM (
    SELECT *, EXTRACT(YEAR FROM "at") * 12 + EXTRACT(MONTH FROM "at") AS month0, EXTRACT(DAY FROM "at") AS day0
    FROM assigned
) AS a
JOIN cells AS c ON a.arm = c.arm AND a.stratum = c.stratum
LEFT JOIN attempts AS k ON a.customer_id = k.customer_id;

-- name: assigned_sums
SELECT cell, months, count(*) AS assigned, sum(attempts) AS attempts, sum(reached) AS reached,
       sum(accepted) AS accepted
FROM followed GROUP BY cell, months;

-- name: activity
-- Purchases of assigned customers on the clock of the test: whole months since assignment.
-- Month -1 is before the assignment, {outside} after the customer's last whole month of follow-up.
CREATE TEMP TABLE activity AS
SELECT customer_id, cell, accepted, value, bought, months,
       CAST(CASE WHEN month < 0 THEN -1 WHEN month >= months THEN {outside} ELSE month END AS INTEGER) AS month
FROM (
    SELECT f.customer_id, f.cell, f.accepted, f.months, p.{value} AS value,
           CASE WHEN p.amount > 0 THEN 1 ELSE 0 END AS bought,
           EXTRACT(YEAR FROM p."at") * 12 + EXTRACT(MONTH FROM p."at") - f.month0
               - CASE WHEN EXTRACT(DAY FROM p."at") < f.day0 THEN 1 ELSE 0 END AS month
    FROM followed AS f JOIN purchases AS p ON f.customer_id = p.customer_id
) AS clocked;

-- name: value_sums
SELECT cell, accepted, month, count(*) AS purchases, sum(value) AS value
FROM activity GROUP BY cell, accepted, month;

-- name: lives
-- One row a returned customer. Its second lifetime is one number: bit k is 1 if it bought k months after the first.
CREATE TEMP TABLE lives AS
SELECT cell, accepted, months, first, last, bits >> first AS life
FROM (
    SELECT customer_id, cell, accepted, months, CAST(min(month) AS INTEGER) AS first,
           CAST(max(month) AS INTEGER) AS last, bit_or(CAST(1 AS BIGINT) << month) AS bits
    FROM activity
    WHERE month >= 0 AND month < {outside} AND bought = 1
    GROUP BY customer_id, cell, accepted, months
) AS returned;

-- name: life_sums
SELECT cell, accepted, first, count(*) AS customers, {life_columns}
FROM lives GROUP BY cell, accepted, first;

-- name: left_sums
-- Returned customers by the end of their follow-up: they leave the count of those watched.
SELECT cell, months, count(*) AS customers FROM lives GROUP BY cell, months;

-- name: outcome_sums
-- Results without dates: one row a customer, no clock.
SELECT f.cell, count(o.customer_id) AS known, sum(CASE WHEN o.returned THEN 1 ELSE 0 END) AS returned,
       sum(coalesce(o.value, 0)) AS value, sum({cost}) AS cost,
       sum(CASE WHEN {took} THEN 1 ELSE 0 END) AS accepted,
       sum(CASE WHEN {took} THEN coalesce(o.value, 0) ELSE 0 END) AS value_accepted
FROM followed AS f LEFT JOIN outcomes AS o ON f.customer_id = o.customer_id
GROUP BY f.cell;
