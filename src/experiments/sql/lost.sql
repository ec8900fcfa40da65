-- Who is lost: purchases go in, one row a customer comes out, and sums of it. Read it from top to bottom.
-- In: purchases; full_<table> with every column of its contract, NULL where nobody knows. Portable subset of section 10.

-- name: calendar
-- One row a day with purchases: how many, the bit of its month (bit k: k months before the day; 61: or earlier), and its own bit
-- among 124 days, in two words. Made once, so that no purchase's date is taken apart.
CREATE TEMP TABLE calendar AS
SELECT "at", sold, refunds,
       CASE WHEN "at" <= DATE '{as_of}' THEN CAST(1 AS BIGINT) << CAST(least(61, {month} - month) AS INTEGER) ELSE 0 END AS month_bit,
       CAST(floor(CAST(day AS DOUBLE) / 124) AS INTEGER) AS block,
       CASE WHEN day % 124 < 62 THEN CAST(1 AS BIGINT) << CAST(day % 62 AS INTEGER) ELSE 0 END AS early,
       CASE WHEN day % 124 < 62 THEN 0 ELSE CAST(1 AS BIGINT) << CAST(day % 62 AS INTEGER) END AS late
FROM (SELECT "at", count(*) AS sold, count(CASE WHEN amount <= 0 THEN 1 END) AS refunds,
             EXTRACT(YEAR FROM "at") * 12 + EXTRACT(MONTH FROM "at") AS month, date_diff('day', DATE '0001-01-01', "at") AS day
      FROM purchases GROUP BY "at") AS days;

-- name: reach
-- How far the purchases reach, and where each row goes.
SELECT sum(CASE WHEN "at" BETWEEN DATE '{start}' AND DATE '{as_of}' THEN sold ELSE 0 END) AS kept,
       sum(CASE WHEN "at" < DATE '{start}' THEN sold ELSE 0 END) AS early,
       sum(CASE WHEN "at" BETWEEN DATE '{start}' AND DATE '{as_of}' THEN refunds ELSE 0 END) AS refunds,
       sum(CASE WHEN "at" > DATE '{as_of}' THEN sold ELSE 0 END) AS late,
       min("at") AS first,
       max(CASE WHEN sold > refunds AND "at" BETWEEN DATE '{start}' AND DATE '{as_of}' THEN "at" END) AS last
FROM calendar;

-- name: each_row
-- The one pass over the purchases. One purchase a customer and day, as in most files: every row is an occasion. A refund is none,
-- but its money counts.
INSERT INTO history
SELECT customer_id, CAST(count(CASE WHEN amount > 0 THEN 1 END) AS INTEGER) AS purchases,
       min(CASE WHEN amount > 0 THEN purchases."at" END) AS first, max(CASE WHEN amount > 0 THEN purchases."at" END) AS last,
       CAST(sum(amount) AS BIGINT) AS revenue, CAST(sum({margin}) AS BIGINT) AS margin,
       bit_or(CASE WHEN amount > 0 THEN month_bit ELSE 0 END) AS months
FROM purchases JOIN calendar ON purchases."at" = calendar."at"
WHERE purchases."at" <= DATE '{as_of}' AND {where}
GROUP BY customer_id;

-- name: each_block
-- Several purchases of a customer on one day are one occasion: 124 days are folded first, a bit for each day with a purchase.
-- Only where there are such days: grouping by customer and block costs twice as much as by customer.
INSERT INTO history
SELECT customer_id, CAST(sum(bit_count(early) + bit_count(late)) AS INTEGER) AS purchases, min(first) AS first, max(last) AS last,
       CAST(sum(revenue) AS BIGINT) AS revenue, CAST(sum(margin) AS BIGINT) AS margin, bit_or(months) AS months
FROM (SELECT customer_id, block, bit_or(CASE WHEN amount > 0 THEN early ELSE 0 END) AS early,
             bit_or(CASE WHEN amount > 0 THEN late ELSE 0 END) AS late, bit_or(CASE WHEN amount > 0 THEN month_bit ELSE 0 END) AS months,
             min(CASE WHEN amount > 0 THEN purchases."at" END) AS first, max(CASE WHEN amount > 0 THEN purchases."at" END) AS last,
             CAST(sum(amount) AS BIGINT) AS revenue, CAST(sum({margin}) AS BIGINT) AS margin
      FROM purchases JOIN calendar ON purchases."at" = calendar."at"
      WHERE purchases."at" <= DATE '{as_of}' AND {where} GROUP BY customer_id, block) AS blocks
GROUP BY customer_id;

-- name: same_days
SELECT count(*) AS days, sum(purchases - 1) AS more
FROM (SELECT customer_id, "at", count(*) AS purchases FROM purchases
      WHERE "at" <= DATE '{as_of}' AND amount > 0 AND {where} GROUP BY customer_id, "at") AS days
WHERE purchases > 1;

-- name: medians
-- The median of the days between a customer's purchase days.
INSERT INTO medians
SELECT customer_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY gap) AS gap
FROM (SELECT customer_id, CAST(date_diff('day', lag("at") OVER (PARTITION BY customer_id ORDER BY "at"), "at") AS DOUBLE) AS gap
      FROM (SELECT DISTINCT customer_id, "at" FROM purchases
            WHERE "at" <= DATE '{as_of}' AND amount > 0 AND {where}) AS days) AS gaps
WHERE gap IS NOT NULL
GROUP BY customer_id;

-- name: offered
-- Who got an offer in a test: whether they came back tells about the offer, not about the rule.
CREATE TEMP TABLE offered AS SELECT DISTINCT customer_id FROM full_assignments WHERE arm <> {holdout};

-- name: again
-- Who bought again after the day without an offer: nobody won them back.
CREATE TEMP TABLE again AS
SELECT p.customer_id, min(p."at") AS again_at, CAST(sum(p.amount) AS BIGINT) AS again
FROM purchases AS p LEFT JOIN offered AS o ON p.customer_id = o.customer_id
WHERE p."at" > DATE '{as_of}' AND p.amount > 0 AND o.customer_id IS NULL
GROUP BY p.customer_id;

-- name: asking
-- Who asked often enough and never ordered, and since when that is so.
CREATE TEMP TABLE asking AS
SELECT customer_id, min(CASE WHEN place = {asked} THEN "at" END) AS asked_at
FROM (SELECT customer_id, "at", ordered, row_number() OVER (PARTITION BY customer_id ORDER BY "at") AS place
      FROM full_inquiries WHERE "at" IS NULL OR "at" <= DATE '{as_of}') AS inquiries
GROUP BY customer_id
HAVING count(*) >= {asked} AND sum(CASE WHEN ordered THEN 1 ELSE 0 END) = 0;

-- name: stated
-- One row a customer and reason, however often and by whom it was stated.
CREATE TEMP TABLE stated AS
SELECT r.customer_id, r.reason, coalesce(f.family, '') AS family, f.ours,
       max(CASE WHEN r.verified THEN 1 WHEN NOT r.verified THEN 0 END) AS verified,
       max(CASE WHEN r.fixed_at <= DATE '{as_of}' OR f.fixed <= DATE '{as_of}' THEN 1 ELSE 0 END) AS fixed
FROM full_reasons AS r LEFT JOIN families AS f ON r.reason = f.reason
GROUP BY r.customer_id, r.reason, f.family, f.ours;

-- name: why
-- One row a customer with a reason: the reason, or 'both', or 'several'; and whether a cause of ours is not removed yet.
CREATE TEMP TABLE why AS
SELECT customer_id, CASE count(*) WHEN 1 THEN min(reason) WHEN 2 THEN 'both' ELSE 'several' END AS reason,
       max(CASE WHEN ours AND fixed = 0 THEN 1 ELSE 0 END) = 1 AS not_fixed
FROM stated GROUP BY customer_id;

-- name: cuts
-- Where classes A and B end: the revenue of the last customer before whom so much of all revenue lies.
SELECT min(CASE WHEN before < {a} * total THEN revenue END) AS a, min(CASE WHEN before < {b} * total THEN revenue END) AS b
FROM (SELECT revenue, CAST(sum(sum(revenue)) OVER (ORDER BY revenue DESC ROWS UNBOUNDED PRECEDING) - sum(revenue) AS DOUBLE) AS before,
             CAST(sum(sum(revenue)) OVER () AS DOUBLE) AS total
      FROM history WHERE revenue > 0 GROUP BY revenue) AS steps;

-- name: people
-- One row a customer: what is known, how long it has been silent and how long it may be. Money in minor units.
CREATE TEMP VIEW people AS
SELECT *, CASE WHEN {times} IS NOT NULL AND purchases >= {minimum_purchases}
               THEN greatest({minimum_days}, {times} * gap) ELSE {silent_days} END AS days_allowed
FROM (
    SELECT coalesce(h.customer_id, c.customer_id, q.customer_id) AS customer_id,
           coalesce(h.purchases, 0) AS purchases, h.first, h.last, coalesce(h.revenue, 0) AS revenue,
           {margin} AS margin, coalesce(h.months, 0) AS months,
           date_diff('day', h.last, DATE '{as_of}') AS silent, {gap} AS gap, a.again_at, a.again, o.customer_id IS NULL AS watched,
           c.since, c.manager, c.line, c.complaint, CASE WHEN c.referrals > 0 THEN 'yes' WHEN c.referrals = 0 THEN 'no' END AS referrer,
           c.nps, c.hours, c.cancelled_at,
           coalesce(c.unreachable, FALSE) AS unreachable, coalesce(c.important, FALSE) AS important,
           coalesce(c.do_not_contact, FALSE) AS do_not_contact, coalesce(c.natural_loss, FALSE) AS natural_loss,
           coalesce(c.deliberate_loss, FALSE) AS deliberate_loss,
           q.customer_id IS NOT NULL AND coalesce(h.purchases, 0) = 0 AS asks,
           al.customer_id IS NOT NULL AS consents,
           greatest(h.last, i.at, t.at, d.given_at, c.cancelled_at, CASE WHEN h.last IS NULL THEN c.since END) AS own_last,
           CASE WHEN coalesce(h.purchases, 0) = 0 THEN q.asked_at END AS asked_at, w.reason, coalesce(w.not_fixed, FALSE) AS not_fixed
    FROM history AS h
    LEFT JOIN medians AS m ON h.customer_id = m.customer_id
    FULL JOIN full_customers AS c ON h.customer_id = c.customer_id
    FULL JOIN asking AS q ON coalesce(h.customer_id, c.customer_id) = q.customer_id
    LEFT JOIN again AS a ON coalesce(h.customer_id, c.customer_id, q.customer_id) = a.customer_id
    LEFT JOIN offered AS o ON coalesce(h.customer_id, c.customer_id, q.customer_id) = o.customer_id
    LEFT JOIN why AS w ON coalesce(h.customer_id, c.customer_id, q.customer_id) = w.customer_id
    LEFT JOIN allowed AS al ON CAST(coalesce(h.customer_id, c.customer_id, q.customer_id) AS VARCHAR) = al.customer_id
    LEFT JOIN consent_days AS d ON CAST(coalesce(h.customer_id, c.customer_id, q.customer_id) AS VARCHAR) = d.customer_id
    LEFT JOIN (SELECT customer_id, max("at") AS at FROM full_inquiries WHERE "at" <= DATE '{as_of}' GROUP BY customer_id) AS i
           ON coalesce(h.customer_id, c.customer_id, q.customer_id) = i.customer_id
    LEFT JOIN (SELECT customer_id, max(CASE WHEN answered <= DATE '{as_of}' THEN answered END) AS at
               FROM (SELECT customer_id, greatest(accepted_at, refused_at) AS answered FROM full_contacts) AS answers
               GROUP BY customer_id) AS t ON coalesce(h.customer_id, c.customer_id, q.customer_id) = t.customer_id
) AS known;

-- name: fired
-- The rules, each with the day it fired on where it has one.
CREATE TEMP VIEW fired AS
SELECT *, CASE WHEN silence THEN last + CAST(floor(days_allowed) + 1 AS INTEGER) END AS silence_at,
       CASE WHEN silence THEN 1 ELSE 0 END + CASE WHEN cancelled IS NOT NULL THEN 1 ELSE 0 END
           + CASE WHEN nps_low THEN 1 ELSE 0 END + CASE WHEN asks THEN 1 ELSE 0 END
           + CASE WHEN gone THEN 1 ELSE 0 END + CASE WHEN conflict THEN 1 ELSE 0 END AS rules
FROM (
    SELECT *, {silence} AND coalesce(silent > days_allowed, FALSE) AS silence,
           CASE WHEN {cancelled} AND cancelled_at <= DATE '{as_of}' THEN cancelled_at END AS cancelled,
           {nps} AND coalesce(nps <= {nps_limit}, FALSE) AS nps_low, {unreachable} AND unreachable AS gone,
           {conflict} AND coalesce(complaint = 'unresolved', FALSE) AS conflict
    FROM people
) AS rules;

-- name: judged
-- Who is lost, since when, what a year of the customer was worth (never more than was seen in a year), and its classes;
-- of the lost, the first flag that keeps them from being contacted.
CREATE TEMP TABLE judged AS
SELECT *, CASE WHEN important AND class IN ('possible', 'let_go') THEN 'must' ELSE class END AS priority
FROM (
    SELECT *, CASE WHEN rules = 0 THEN NULL WHEN natural_loss THEN 'natural' WHEN deliberate_loss THEN 'deliberate'
                   WHEN profit < coalesce(hours, 0) * {hour_cost} THEN 'loss_making'
                   WHEN do_not_contact THEN 'do_not_contact' WHEN {asks_consent} AND NOT consents THEN 'no_consent'
                   WHEN own_last < {kept_since} THEN 'expired' WHEN unreachable THEN 'unreachable'
                   WHEN {fixed_first} AND not_fixed THEN 'not_fixed' ELSE 'contactable' END AS step,
           CASE concat(abc, xyz) {classes} END AS class
    FROM (
        SELECT *, rules > 0 AS lost,
               CASE WHEN rules > 0 THEN least(coalesce(since_rule, last, since, DATE '{as_of}'), DATE '{as_of}') END AS lost_at,
               least(coalesce(first, since, DATE '{as_of}'), coalesce(since_rule, DATE '{as_of}')) AS began,
               CAST(floor(CAST(revenue AS DOUBLE) * 365 / days) AS BIGINT) AS worth,
               CAST(floor(CAST(margin AS DOUBLE) * 365 / days) AS BIGINT) AS profit,
               CASE WHEN revenue >= {cut_a} THEN 'A' WHEN revenue >= {cut_b} THEN 'B' ELSE 'C' END AS abc,
               CASE WHEN purchases < {minimum_purchases} THEN 'Z' WHEN regularity >= {x} THEN 'X'
                    WHEN regularity >= {y} THEN 'Y' ELSE 'Z' END AS xyz,
               CASE WHEN purchases = 0 THEN 'asked' WHEN purchases = 1 THEN 'one' WHEN purchases = 2 THEN 'two' ELSE 'regular' END AS stage
        FROM (
            SELECT *, greatest(365, date_diff('day', first, last) + coalesce(gap, 0)) AS days,
                   CAST(bit_count(months) AS DOUBLE)
                       / (1 + least(61, {month} - EXTRACT(YEAR FROM first) * 12 - EXTRACT(MONTH FROM first))
                            - least(61, {month} - EXTRACT(YEAR FROM last) * 12 - EXTRACT(MONTH FROM last))) AS regularity,
                   least(silence_at, cancelled, asked_at) AS since_rule
            FROM fired WHERE purchases > 0 OR rules > 0
        ) AS measured
    ) AS classified
) AS flagged;

-- name: cohort
-- The lost customers, for the next notebook. Expected: P(return) x second value - cost, the second value in proportion to the
-- customer's own worth. Money in minor units.
CREATE TEMP VIEW cohort AS
SELECT j.customer_id, j.lost_at, j.first, j.last, j.purchases, j.silent, j.days_allowed, j.silence_at, j.cancelled AS cancelled_at,
       j.asked_at, j.nps_low, j.gone AS unreachable_rule, j.conflict, j.rules, j.step, j.step = 'contactable' AS contactable, j.reason,
       j.manager, j.line, j.stage, j.complaint, j.referrer, j.revenue, j.worth, j.profit, j.abc, j.xyz, j.priority, j.important,
       {expected} AS expected
FROM judged AS j {learned}
WHERE j.lost;

-- name: totals
SELECT count(*) AS customers, sum(CASE WHEN lost THEN 1 ELSE 0 END) AS lost, sum(revenue) AS revenue,
       sum(CASE WHEN lost THEN revenue ELSE 0 END) AS revenue_lost, sum(worth) AS worth,
       sum(CASE WHEN lost THEN worth ELSE 0 END) AS worth_lost,
       sum(CASE WHEN lost THEN floor(CAST(worth AS DOUBLE) * date_diff('day', lost_at, DATE '{as_of}') / 365) ELSE 0 END) AS missed,
       sum(CASE WHEN first < since THEN 1 ELSE 0 END) AS too_early
FROM judged;

-- name: rule
SELECT sum(CASE WHEN {rule} THEN 1 ELSE 0 END) AS fired, sum(CASE WHEN {rule} AND rules = 1 THEN 1 ELSE 0 END) AS alone
FROM judged;

-- name: steps
SELECT step, count(*) AS customers FROM judged WHERE lost GROUP BY step;

-- name: courses
-- Months in which customers began and were lost, counted back from the month of the day.
SELECT {month} - EXTRACT(YEAR FROM began) * 12 - EXTRACT(MONTH FROM began) AS began,
       {month} - EXTRACT(YEAR FROM lost_at) * 12 - EXTRACT(MONTH FROM lost_at) AS lost, count(*) AS customers
FROM judged GROUP BY 1, 2;

-- name: groups
SELECT coalesce(CAST({column} AS VARCHAR), 'unknown') AS name, count(*) AS customers, sum(CASE WHEN lost THEN 1 ELSE 0 END) AS lost,
       sum(CASE WHEN step = 'contactable' THEN 1 ELSE 0 END) AS contactable, sum(CASE WHEN lost THEN worth ELSE 0 END) AS worth,
       sum(CASE WHEN lost AND watched THEN 1 ELSE 0 END) AS watched, sum(CASE WHEN lost AND again_at IS NOT NULL THEN 1 ELSE 0 END) AS returned
FROM judged GROUP BY 1 ORDER BY 1;

-- name: trial
SELECT sum(CASE WHEN {limit} IS NOT NULL THEN 1 ELSE 0 END) AS judged, sum(CASE WHEN silent > {limit} THEN 1 ELSE 0 END) AS lost,
       sum(CASE WHEN silent > {limit} AND watched THEN 1 ELSE 0 END) AS watched,
       sum(CASE WHEN silent > {limit} AND again_at IS NOT NULL THEN 1 ELSE 0 END) AS returned,
       sum(CASE WHEN silent > {limit} THEN coalesce(again, 0) ELSE 0 END) AS again
FROM judged WHERE purchases > 0;

-- name: known
-- The rule against those truly known to be lost.
SELECT count(k.customer_id) AS known, sum(CASE WHEN j.lost THEN 1 ELSE 0 END) AS called,
       sum(CASE WHEN j.lost AND k.customer_id IS NOT NULL THEN 1 ELSE 0 END) AS right,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN j.lost AND k.customer_id IS NOT NULL
           THEN CAST(date_diff('day', k."at", j.lost_at) AS DOUBLE) END) AS late
FROM judged AS j LEFT JOIN (SELECT customer_id, min("at") AS "at" FROM full_known_lost
                            WHERE "at" IS NULL OR "at" <= DATE '{as_of}' GROUP BY customer_id) AS k ON j.customer_id = k.customer_id;

-- name: repeats
-- Purchase days after the first, weeks from the first to the last and to the day: all that P(alive) is made of.
SELECT purchases - 1 AS repeats, CAST(ceil(date_diff('day', first, last) / 7.0) AS INTEGER) AS recency,
       CAST(ceil(date_diff('day', first, DATE '{as_of}') / 7.0) AS INTEGER) AS age,
       sum(CASE WHEN silence THEN 1 ELSE 0 END) AS lost, count(*) AS customers
FROM judged WHERE purchases > 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: reasons
SELECT s.reason, s.family, s.ours, count(*) AS customers, sum(j.worth) AS worth, sum(s.verified) AS verified,
       count(s.verified) AS checked, sum(s.fixed) AS fixed, sum(CASE WHEN j.complaint IN ('resolved', 'unresolved') THEN 1 ELSE 0 END) AS complained,
       sum(CASE WHEN j.referrer = 'yes' THEN 1 ELSE 0 END) AS referrers, sum(CASE WHEN j.watched THEN 1 ELSE 0 END) AS watched,
       sum(CASE WHEN j.again_at IS NOT NULL THEN 1 ELSE 0 END) AS returned
FROM stated AS s JOIN judged AS j ON s.customer_id = j.customer_id
WHERE j.lost GROUP BY s.reason, s.family, s.ours ORDER BY worth DESC, s.reason;

-- name: sources
SELECT r.reason, coalesce(r.source, 'unknown') AS source, count(DISTINCT r.customer_id) AS customers
FROM full_reasons AS r JOIN judged AS j ON r.customer_id = j.customer_id
WHERE j.lost GROUP BY r.reason, coalesce(r.source, 'unknown') ORDER BY r.reason, customers DESC, source;

-- name: matrix
SELECT abc, xyz, count(*) AS customers, sum(CASE WHEN lost THEN 1 ELSE 0 END) AS lost, sum(CASE WHEN lost THEN worth ELSE 0 END) AS worth
FROM judged GROUP BY abc, xyz;

-- name: priorities
SELECT priority, count(*) AS lost, sum(CASE WHEN contactable THEN 1 ELSE 0 END) AS contactable,
       sum(CASE WHEN contactable THEN worth ELSE 0 END) AS worth, sum(CASE WHEN contactable THEN expected END) AS expected,
       sum(CASE WHEN contactable AND expected <= 0 THEN 1 WHEN contactable AND expected > 0 THEN 0 END) AS hopeless
FROM cohort GROUP BY priority;

-- name: efforts
SELECT abc, count(*) AS customers, sum(coalesce(hours, 0)) AS hours, sum(profit) AS profit,
       sum(CASE WHEN profit < coalesce(hours, 0) * {hour_cost} THEN 1 ELSE 0 END) AS loses
FROM judged GROUP BY abc ORDER BY abc;
