-- Do the tables of a test speak of the same customers, and of each purchase once? Counts come out.
-- In: assigned, assignments, and the table asked about. Portable subset of section 10.

-- name: matched
-- Rows of a table, and those of customers of the test.
SELECT count(*) AS rows_there, count(a.customer_id) AS matched
FROM {table} AS t LEFT JOIN assigned AS a ON t.customer_id = a.customer_id
WHERE {own};

-- name: alike
-- Rows that match nobody as they are written, but somebody of the test without leading zeros, letter case or cut digits.
SELECT coalesce(sum(n), 0) AS doubtful, min(k.customer_id) AS assigned_example, min(s.customer_id) AS example
FROM (SELECT CAST(t.customer_id AS VARCHAR) AS customer_id, count(*) AS n
      FROM {table} AS t LEFT JOIN assigned AS a ON t.customer_id = a.customer_id
      WHERE a.customer_id IS NULL AND {own} GROUP BY 1) AS s
JOIN (SELECT {alike_a} AS spelt, min(CAST(a.customer_id AS VARCHAR)) AS customer_id FROM assigned AS a GROUP BY 1) AS k
  ON {alike_s} = k.spelt;

-- name: strangers
-- Rows of customers whom nobody assigned in any test.
SELECT count(*) AS strangers
FROM {table} AS t LEFT JOIN (SELECT DISTINCT customer_id FROM assignments) AS a ON t.customer_id = a.customer_id
WHERE a.customer_id IS NULL AND {own};

-- name: examples
SELECT (SELECT CAST(min(customer_id) AS VARCHAR) FROM {table}) AS example,
       (SELECT CAST(min(customer_id) AS VARCHAR) FROM assigned) AS assigned_example;

-- name: repeats
-- Purchases of the test's customers that repeat another one in customer, day, amount (and number of the order), and their money.
SELECT coalesce(sum(n - 1), 0) AS repeats, coalesce(sum((n - 1) * amount), 0) AS money
FROM (SELECT p.customer_id, p.amount, count(*) AS n FROM purchases AS p JOIN assigned AS a ON p.customer_id = a.customer_id
      GROUP BY p.customer_id, p."at", p.amount{order} HAVING count(*) > 1) AS repeated;
