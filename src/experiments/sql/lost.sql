-- Who is lost by silence: no purchase for more than {silent_days} days before {as_of}.
-- In: purchases. One row a customer that bought before the day.

-- name: last_purchase
CREATE TEMP TABLE last_purchase AS
SELECT customer_id, max("at") AS last, count(*) AS purchases, sum(amount) AS revenue
FROM purchases
WHERE "at" <= DATE '{as_of}' AND amount > 0
GROUP BY customer_id;

-- name: lost
CREATE TEMP TABLE lost AS
SELECT customer_id, last, purchases, revenue, date_diff('day', last, DATE '{as_of}') > {silent_days} AS lost
FROM last_purchase;

-- name: totals
SELECT count(*) AS customers, sum(CASE WHEN lost THEN 1 ELSE 0 END) AS lost,
       sum(revenue) AS revenue, sum(CASE WHEN lost THEN revenue ELSE 0 END) AS revenue_lost
FROM lost;

-- name: by_month
SELECT EXTRACT(YEAR FROM last) * 12 + EXTRACT(MONTH FROM last) - 1 AS month, count(*) AS customers
FROM lost WHERE lost GROUP BY 1 ORDER BY 1;
