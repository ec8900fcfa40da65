-- What the offers did to the simulated customers, and their bills. In: people, assigned, odds, survival, delays.
CREATE TEMP TABLE lives AS
WITH drawn AS (
    SELECT p.*, a.arm, a.stratum, a.bucket, o.curve_offer, o.curve_alone,
           u_alone < o.p_spontaneous AS spontaneous,
           u_accept < o.p_accept AND (getvariable('effect') OR u_alone < o.p_spontaneous) AS accepted,
           6 + CAST(floor(25 * pow(u_follow_up, o.power)) AS INTEGER) AS follow_up,
           CAST(getvariable('until') AS DATE) - to_months(follow_up) AS "at"
    FROM people AS p
    JOIN assigned AS a ON p.customer_id = a.customer_id
    JOIN odds AS o ON p.kind = o.kind AND a.arm = o.arm
)
SELECT *, accepted AND getvariable('effect') AS by_offer FROM drawn;

CREATE TEMP VIEW customers AS
SELECT p.customer_id,
       CAST(CAST(getvariable('until') AS DATE) - to_months(CAST(getvariable('max_months') + 9 + 6
            + floor(u_history * 31) AS INTEGER)) AS DATE) AS since,
       concat('manager ', p.customer_id % 12 + 1) AS manager, tier, referral AS referrals, complaint
FROM people AS p;

CREATE TEMP VIEW reasons AS
SELECT customer_id, unnest(CASE reason WHEN 'both' THEN ['price', 'service'] ELSE [reason] END) AS reason,
       'survey' AS source
FROM people;

CREATE TEMP VIEW assignments AS
SELECT getvariable('experiment') AS experiment, customer_id, arm, CAST("at" AS DATE) AS "at", stratum, bucket FROM lives;

CREATE TEMP VIEW contacts AS
SELECT getvariable('experiment') AS experiment, customer_id, arm, CAST("at" AS DATE) AS "at", 'call' AS channel,
       TRUE AS reached,
       CASE WHEN accepted THEN CAST("at" AS DATE) END AS accepted_at,
       CASE WHEN NOT accepted THEN CAST("at" AS DATE) END AS refused_at
FROM lives WHERE arm <> 'holdout';

-- A second lifetime: one bill a month while u_life stays below the survival curve, after a delay.
CREATE TEMP VIEW second_bills AS
SELECT l.customer_id,
       CAST(l."at" + to_months(CAST(d.delay + s.month AS INTEGER)) AS DATE) + CAST(l.customer_id % 27 AS INTEGER) AS "at",
       l.margin_cents
FROM (SELECT * FROM lives WHERE by_offer OR spontaneous) AS l
JOIN delays AS d ON d.by_offer = l.by_offer AND l.u_delay >= d.above AND l.u_delay < d.upto
JOIN survival AS s ON s.curve = CASE WHEN l.by_offer THEN l.curve_offer ELSE l.curve_alone END
                  AND s.survival > l.u_life AND d.delay + s.month < l.follow_up;

-- Margin is 40 % of what a bill says.
CREATE TEMP VIEW purchases AS
SELECT customer_id, "at", CAST(margin_cents * 2.5 / 100 AS DECIMAL(12, 2)) AS amount,
       CAST(margin_cents / 100.0 AS DECIMAL(12, 2)) AS margin
FROM second_bills;
