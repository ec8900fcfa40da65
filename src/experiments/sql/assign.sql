-- Stratified randomisation: exact shares inside every stratum, the same on any engine and in any row order.
-- In: to_assign(customer_id, stratum), arm_shares(arm, above, upto), starts(stratum, start); the text of bucket.sql.
-- Customers of a stratum stand in the order of md5; a random start in [0, 1) makes small strata fair.
CREATE TABLE assigned AS
WITH ranked AS (
    SELECT customer_id, stratum,
           row_number() OVER (PARTITION BY stratum
                              ORDER BY md5(concat('{seed}:arm:', customer_id)), customer_id) AS place,
           count(*) OVER (PARTITION BY stratum) AS size
    FROM to_assign
), placed AS (
    SELECT r.customer_id, r.stratum, (CAST(r.place AS DOUBLE) - s.start) / CAST(r.size AS DOUBLE) AS position
    FROM ranked AS r JOIN starts AS s ON r.stratum = s.stratum
), armed AS (
    SELECT p.customer_id, p.stratum, a.arm
    FROM placed AS p JOIN arm_shares AS a ON p.position > a.above AND p.position <= a.upto
)
SELECT customer_id, stratum, arm,
       {bucket} AS bucket
FROM armed;
