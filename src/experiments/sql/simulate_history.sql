-- What was before the test: first lifetimes, why customers left, what the company changed.
-- In: people, second_bills; small tables from Python: losses(above, rhythm, month), company_changes(month, what).
-- Months count backwards from the day the company looks at its customers: month 1 begins a month before it.
CREATE MACRO day0() AS CAST(CAST(getvariable('until') AS DATE) - to_months(getvariable('max_months')) AS DATE);
-- A cheap hash of a customer's salt (from md5) and a number, below 2^32: 3 million bills need no md5.
CREATE MACRO salt_of(id) AS CAST(bits(id, 7) & 4294967295 AS BIGINT);
CREATE MACRO folded(x) AS xor(x, x >> 16);
CREATE MACRO stirred(x) AS (folded(x) * 73244475) & 4294967295;  -- T. Mueller's integer hash
CREATE MACRO noise(salt, k) AS folded(stirred(stirred((salt + k * 2654435769) & 4294967295)));
CREATE MACRO chance(salt, k) AS noise(salt, k) / 4294967296.0;
-- A bill comes up to 2 days off the customer's own day: days 0 to 27 of its month.
CREATE MACRO bill_day(salt, month) AS
    CAST(day0() - to_months(month) AS DATE) + CAST(salt % 24 + noise(salt, month) % 5 AS INTEGER);

-- One row a customer. Bills are due in `last_month` and every `rhythm` months before it, `due` times.
CREATE TEMP TABLE first_lives AS
WITH drawn AS (
    SELECT *, first_half(bits(customer_id, 6)) AS u_loss, salt_of(customer_id) AS salt
    FROM people
), lasting AS (
    SELECT d.*, l.rhythm, chance(salt, 1001) AS u_why,
           -- Who stayed buys on for 12 months; their months of history are counted to the day of the look.
           CAST(CASE WHEN stayed THEN floor(chance(salt, 1002) * rhythm) - 11 ELSE l.month END AS INTEGER) AS last_month,
           CAST(1 + floor((CASE WHEN stayed THEN 14 - last_month ELSE getvariable('shortest') - 1 END
                           + floor(u_history * 31)) / rhythm) AS INTEGER) AS due
    FROM drawn AS d ASOF JOIN losses AS l ON d.u_loss >= l.above
)
SELECT *, bill_day(salt, last_month + rhythm * (due - 1)) AS first_at,
       CASE WHEN NOT stayed THEN CAST(bill_day(salt, last_month) + to_months(rhythm) AS DATE) END AS lost_at,
       CASE WHEN to_assign OR stayed THEN NULL WHEN u_why < 0.45 THEN 'natural' WHEN u_why < 0.60 THEN 'deliberate'
            WHEN u_why < 0.85 THEN 'do not contact' ELSE 'loss-making' END AS unwanted,
       -- Some of those who stayed pause for 4 to 7 months, from some day in the year before the look.
       CASE WHEN stayed AND chance(salt, 1003) < 0.03 THEN 1 + noise(salt, 1004) % 12 END AS pause,
       4 + noise(salt, 1005) % 4 AS pause_months
FROM lasting;

-- The first and the last bill always come: so the day of a loss is known, and who only paused is seen to buy again.
CREATE TEMP VIEW first_bills AS
SELECT customer_id, bill_day(salt, month) AS "at", margin_cents,
       CASE WHEN unwanted = 'loss-making' THEN -(margin_cents // 2) ELSE margin_cents END AS earned_cents
FROM (SELECT *, last_month + rhythm * k AS month FROM first_lives, range(0, due) AS t(k)) AS bills
WHERE k IN (0, due - 1)
   OR (chance(salt, month) >= getvariable('skipped')
       AND (pause IS NULL OR month > pause OR month <= pause - pause_months));

-- The bills of both lifetimes. Margin is 40 % of what a bill says, but for customers who cost more than they bring.
CREATE OR REPLACE TEMP VIEW purchases AS
SELECT customer_id, "at", CAST(margin_cents * 2.5 / 100 AS DECIMAL(12, 2)) AS amount,
       CAST(earned_cents / 100.0 AS DECIMAL(12, 2)) AS margin
FROM (SELECT * FROM first_bills UNION ALL SELECT *, margin_cents FROM second_bills) AS bills;

CREATE TEMP VIEW known_lost AS SELECT customer_id, lost_at AS "at" FROM first_lives WHERE NOT stayed;

CREATE TEMP VIEW changes AS
SELECT CAST(day0() - to_months(CAST(month AS INTEGER)) AS DATE) AS "at", what FROM company_changes;

CREATE OR REPLACE TEMP VIEW customers AS
SELECT customer_id,
       -- As real data have it: a few customers began after their first bill.
       first_at + CAST(CASE WHEN chance(salt, 1010) < 0.002 THEN 1 + noise(salt, 1011) % 30
                            ELSE -(noise(salt, 1011) % 21) END AS INTEGER) AS since,
       concat('manager ', customer_id % 12 + 1) AS manager,
       CASE WHEN chance(salt, 1012) < CASE WHEN stayed THEN 0.55 ELSE 0.45 END THEN 'mobile'
            WHEN chance(salt, 1012) < CASE WHEN stayed THEN 0.85 ELSE 0.75 END THEN 'internet' ELSE 'tv' END AS line,
       tier, referral AS referrals, complaint,
       CASE WHEN chance(salt, 1013) >= 0.6
            THEN CAST(least(10, 5 + CASE WHEN stayed THEN 3 ELSE 0 END - CASE complaint WHEN 'unresolved' THEN 2 ELSE 0 END
                                + noise(salt, 1014) % 4 + noise(salt, 1015) % 4 - 3) AS INTEGER) END AS nps,
       CAST(CASE WHEN unwanted = 'loss-making' THEN 40 + noise(salt, 1016) % 41
                 ELSE CASE tier WHEN 'A' THEN 4 WHEN 'B' THEN 2 ELSE 0 END + noise(salt, 1016) % 4 END AS INTEGER) AS hours,
       tier = 'A' AND chance(salt, 1017) < 0.01 AS important,
       unwanted IS NOT DISTINCT FROM 'do not contact' AS do_not_contact,
       unwanted IS NOT DISTINCT FROM 'natural' AS natural_loss,
       unwanted IS NOT DISTINCT FROM 'deliberate' AS deliberate_loss,
       chance(salt, 1018) < 0.01 AS unreachable,
       CASE WHEN NOT stayed AND chance(salt, 1019) < 0.08
            THEN least(lost_at + CAST(noise(salt, 1020) % 7 AS INTEGER), day0() - 1) END AS cancelled_at
FROM first_lives;

-- Why the lost left. Staff know who moved, died or went bankrupt; the others give the reason of their kind.
CREATE OR REPLACE TEMP VIEW reasons AS
SELECT customer_id, reason,
       CASE WHEN u_source < 0.3 OR unwanted = 'natural' THEN 'staff' WHEN u_source < 0.7 THEN 'survey'
            WHEN u_source < 0.9 THEN 'call record' ELSE 'customer' END AS source,
       chance(salt, 1031) < 0.6 AS verified,
       CASE WHEN reason = 'service' AND chance(salt, 1032) < 0.5
            THEN day0() - 1 - CAST(floor(chance(salt, 1033) * date_diff('day', lost_at, day0())) AS INTEGER) END AS fixed_at
FROM (
    SELECT customer_id, salt, lost_at, unwanted, chance(salt, 1030) AS u_source,
           unnest(CASE WHEN unwanted = 'natural' THEN [['moved', 'died', 'bankrupt'][1 + noise(salt, 1034) % 3]]
                       WHEN reason = 'both' THEN ['price', 'service'] ELSE [reason] END) AS reason
    FROM first_lives WHERE NOT stayed
) AS stated;

-- Who asked: one customer in fifty before its first bill, and people who never ordered, 1 to 5 times each.
CREATE TEMP VIEW inquiries AS
SELECT customer_id, first_at - CAST(1 + noise(salt, 1040) % 14 AS INTEGER) AS "at", TRUE AS ordered
FROM first_lives WHERE chance(salt, 1041) < 0.02
UNION ALL
SELECT customer_id, day0() - 1 - CAST(noise(salt, k) % 730 AS INTEGER), FALSE
FROM (SELECT people + i AS customer_id, salt_of(people + i) AS salt
      FROM (SELECT count(*) AS people FROM first_lives) AS known, range(1, 2 + getvariable('customers') // 20) AS t(i)
) AS strangers, range(0, 1 + noise(salt, 1042) % 5) AS t(k);
