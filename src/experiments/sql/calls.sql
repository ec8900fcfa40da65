-- Whom to call: an assignment goes in, one row a customer comes out. Read it from top to bottom.
-- In: calls_<table> for assignments, cohort, customers, reasons, contacts, each with every column named here; customers are text.

-- name: people
-- One row an assigned customer, with all that the rules ask for.
CREATE OR REPLACE TEMP TABLE calls_people AS
SELECT a.customer_id, a.arm, a.stratum, a."at", a.copies, a.held_out, c.customer_id IS NOT NULL AS known, c.lost_at, c.step, c.reason,
       CASE WHEN r.reasons IS NOT NULL THEN r.reasons WHEN c.reason IS NULL THEN [] ELSE [c.reason] END AS reasons,
       coalesce(r.ours, 0) AS ours, r.unfixed, r.fixed_at, c.manager, c.line, c.abc AS tier, c.priority, c.expected, c.worth,
       al.channels AS allowed, coalesce(k.complaint, c.complaint) AS complaint, coalesce(k.do_not_contact, FALSE) AS do_not_contact,
       coalesce(t.before, 0) AS before, coalesce(t.reached, 0) AS reached, CAST(coalesce(t.tries, 0) AS INTEGER) AS tries, k.* EXCLUDE (customer_id, complaint, do_not_contact)
FROM (
    SELECT customer_id, min(arm) AS arm, min(stratum) AS stratum, min("at") AS "at", count(*) AS copies,
           max(CASE WHEN arm = {holdout} THEN 1 ELSE 0 END) = 1 AS held_out
    FROM calls_assignments GROUP BY customer_id
) AS a
LEFT JOIN calls_cohort AS c ON a.customer_id = c.customer_id
LEFT JOIN calls_customers AS k ON a.customer_id = k.customer_id
LEFT JOIN calls_allowed AS al ON a.customer_id = al.customer_id
LEFT JOIN (
    -- A cause of ours is removed on the first of its days, for this customer or for everybody; all must be removed.
    SELECT customer_id, list_sort(list(reason)) AS reasons, sum(ours) AS ours,
           max(CASE WHEN ours = 1 AND fixed_at IS NULL THEN 1 ELSE 0 END) = 1 AS unfixed,
           max(CASE WHEN ours = 1 THEN fixed_at END) AS fixed_at
    FROM (
        SELECT s.customer_id, s.reason, max(CASE WHEN f.reason IS NULL THEN 0 ELSE 1 END) AS ours, min(least(s.fixed_at, f.fixed)) AS fixed_at
        FROM calls_reasons AS s LEFT JOIN calls_causes AS f ON s.reason = f.reason
        WHERE s.reason IS NOT NULL GROUP BY s.customer_id, s.reason
    ) AS stated GROUP BY customer_id
) AS r ON a.customer_id = r.customer_id
LEFT JOIN (
    -- A contact of which nobody says whether it reached the customer counts as one that did: one chance.
    SELECT t.customer_id, sum(CASE WHEN t.other AND t.got THEN 1 ELSE 0 END) AS before,
           sum(CASE WHEN NOT t.other AND t.got THEN 1 ELSE 0 END) AS reached, sum(CASE WHEN t.other THEN 0 ELSE 1 END) AS tries
    FROM (
        SELECT c.customer_id, coalesce(c.reached, TRUE) OR c.accepted_at IS NOT NULL OR c.refused_at IS NOT NULL AS got,
               coalesce(c.experiment <> {experiment}, FALSE) OR coalesce(c."at" < a."at", FALSE) AS other
        FROM calls_contacts AS c JOIN (SELECT customer_id, min("at") AS "at" FROM calls_assignments GROUP BY customer_id) AS a
             ON c.customer_id = a.customer_id
    ) AS t GROUP BY t.customer_id
) AS t ON a.customer_id = t.customer_id;

-- name: judged
-- The days a customer may be called, what rule keeps the customer from it, who may call, and what was drawn by chance.
CREATE OR REPLACE TEMP TABLE calls_judged AS
SELECT *, held_out AS holdout, customer_id LIKE 'forgotten-%' AS forgotten, copies > 1 AS duplicate, NOT known AS not_lost,
       {contactable_only} AND coalesce(step IN ('natural', 'deliberate', 'loss_making', 'unreachable'), FALSE) AS not_contactable,
       {asks_consent} AND allowed IS NULL AS no_consent, coalesce(step = 'expired', FALSE) AS expired, list_contains({stopped}, arm) AS stopped,
       before > 0 AS contacted_before, reached > 0 AS contacted, coalesce(tries >= {attempts}, FALSE) AS tried,
       {fixed_first} AND CASE WHEN ours > 0 THEN unfixed OR coalesce(fixed_at > deadline, FALSE) ELSE coalesce(step = 'not_fixed', FALSE) END AS not_fixed,
       {apology_with_offer} AND apology AND offer IS NULL AS no_offer,
       coalesce(waited > deadline, FALSE) AS waiting, coalesce(begin > deadline, FALSE) AS late,
       greatest(begin, waited, CASE WHEN {fixed_first} THEN fixed_at END) AS ready
FROM (
    SELECT p.* EXCLUDE (do_not_contact), p.do_not_contact OR coalesce(p.step = 'do_not_contact', FALSE) AS do_not_contact,
           o.offer, o.label, o.terms, {begin} AS begin, p.lost_at + {waiting_days} AS waited,
           least(coalesce(p."at", {first_day}) + {deadline_days}, o.until, coalesce(p."at", {first_day}) + o.days) AS deadline,
           coalesce(p.complaint = 'unresolved', FALSE) OR list_has_any(p.reasons, {apology_for}) AS apology,
           m.team, coalesce(m.why = 'no_head', FALSE) AS no_head, coalesce(m.why = 'own_manager', FALSE) AS own_manager,
           coalesce(m.why = 'no_caller', FALSE) AS no_caller,
           -- Drawn among all customers of the arm, called or not: a list made again has the same.
           (row_number() OVER (PARTITION BY p.arm ORDER BY md5(concat('{seed}:channel:', p.customer_id)), p.customer_id) - 1) % {channels} AS channel_drawn,
           (row_number() OVER (PARTITION BY p.arm, m.team ORDER BY md5(concat('{seed}:caller:', p.customer_id)), p.customer_id) - 1) % m.size AS caller_drawn
    FROM calls_people AS p
    LEFT JOIN calls_pitches AS o ON p.arm = o.arm AND p.stratum IS NOT DISTINCT FROM o.stratum
    LEFT JOIN calls_teams AS m ON p.line IS NOT DISTINCT FROM m.line AND p.manager IS NOT DISTINCT FROM m.manager
                              AND p.tier IS NOT DISTINCT FROM m.tier
) AS rules;

-- name: violations
SELECT count(*) AS asked, {counts} FROM calls_judged WHERE NOT holdout;

-- name: order
-- Who is called first: by class, then by what the call is expected to bring, then by chance. `opening` numbers the
-- different callers and days that are open to a customer.
CREATE OR REPLACE TEMP TABLE calls_order AS
SELECT *, dense_rank() OVER (ORDER BY team, drawn, ready, deadline) - 1 AS opening,
       row_number() OVER (ORDER BY CASE priority WHEN 'first' THEN 1 WHEN 'must' THEN 2 WHEN 'possible' THEN 3 WHEN 'let_go' THEN 4 ELSE 5 END,
                                   expected DESC NULLS LAST, worth DESC NULLS LAST,
                                   md5(concat('{seed}:call:', customer_id)), customer_id) - 1 AS place
FROM (SELECT *, CASE WHEN {vary_caller} THEN caller_drawn END AS drawn FROM calls_judged WHERE ({why}) IS NULL) AS left_over;

-- name: openings
SELECT min(team) AS team, min(drawn) AS drawn, min(ready) AS ready, min(deadline) AS deadline
FROM calls_order GROUP BY opening ORDER BY opening;

-- name: seated
-- Who is called by whom, when and how; `saying` numbers the different things to say.
CREATE OR REPLACE TEMP TABLE calls_seated AS
SELECT *, dense_rank() OVER (ORDER BY {variables}) - 1 AS saying
FROM (
    SELECT o.*, s.day, s.caller AS caller_place, n.name AS caller, o.tries + 1 AS attempt, {channel} AS channel
    FROM calls_order AS o JOIN calls_seats AS s ON o.place = s.place JOIN calls_callers AS n ON s.caller = n.place
) AS called;

-- name: sayings
SELECT DISTINCT saying, {variables} FROM calls_seated WHERE saying >= {first} AND saying < {last} ORDER BY saying;

-- name: calls
-- The list.
CREATE OR REPLACE TABLE calls AS
SELECT {experiment} AS experiment, s.arm, s.day, s.caller, s.channel, s.customer_id, {show} array_to_string(s.reasons, ', ') AS reason,
       s.complaint, w.offer, w.words, s.deadline, s.attempt, s.caller_place, s.place
FROM calls_seated AS s JOIN calls_words AS w ON s.saying = w.saying;

-- name: general
-- Who has an offer and hears words that are made for nobody.
SELECT count(CASE WHEN w.ours AND w.script = 'default' AND s.offer IS NOT NULL THEN 1 END) AS customers, count(*) AS listed,
       list_sort(list(DISTINCT s.offer) FILTER (WHERE w.ours AND w.script = 'default' AND s.offer IS NOT NULL)) AS offers
FROM calls_seated AS s JOIN calls_words AS w ON s.saying = w.saying;

-- name: not_listed
CREATE OR REPLACE TABLE calls_not_listed AS
SELECT j.customer_id, j.arm, coalesce({why}, 'no_capacity') AS why
FROM calls_judged AS j LEFT JOIN calls AS l ON j.customer_id = l.customer_id
WHERE l.customer_id IS NULL;

-- name: loads
SELECT caller, count(*) AS customers, count(DISTINCT day) AS days, min(day) AS first_day, max(day) AS last_day
FROM calls GROUP BY caller, caller_place ORDER BY caller_place;

-- name: register
-- Whoever was ever on a list of this test: the new list, and customers of earlier ones.
CREATE OR REPLACE TEMP TABLE calls_register AS
SELECT experiment, customer_id, arm, day, caller, channel, deadline, attempt FROM calls
UNION ALL
SELECT experiment, customer_id, arm, day, caller, channel, deadline, attempt FROM {earlier} AS e
WHERE NOT EXISTS (SELECT 1 FROM calls AS c WHERE c.customer_id = e.customer_id AND c.experiment = e.experiment);
