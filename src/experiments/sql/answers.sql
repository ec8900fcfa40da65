-- What came of a call list: the filled list goes in, contacts come out, each attempt once. Read it from top to bottom.
-- In: answers_typed, the list as it was read; answers_assigned(customer_id, arm, at); answers_register; answers_contacts.

-- name: joined
-- One row a filled line. Without a day of its own a contact was made on the day of the list.
CREATE OR REPLACE TEMP TABLE answers_joined AS
SELECT *, coalesce(told_reached, CASE WHEN accepted_at IS NOT NULL OR refused THEN TRUE END) AS reached,
       coalesce(told_refused_at, CASE WHEN refused THEN "at" END) AS refused_at
FROM (
    SELECT t.customer_id, a.customer_id IS NOT NULL AS known, a.arm AS arm, a."at" AS assigned_at, t.arm AS told_arm, r.customer_id IS NOT NULL AS listed,
           coalesce(t.called_on, t.day, r.day) AS "at", t.called_on IS NULL AS planned, coalesce(t.channel, r.channel) AS channel,
           coalesce(t.caller, r.caller) AS caller, t.reached AS told_reached, t.accepted_at, t.refused_at AS told_refused_at, t.refusal,
           t.refused_at IS NOT NULL OR t.refusal IS NOT NULL AS refused
    FROM answers_typed AS t
    LEFT JOIN answers_assigned AS a ON t.customer_id = a.customer_id
    LEFT JOIN answers_register AS r ON t.customer_id = r.customer_id
    WHERE t.called_on IS NOT NULL OR t.reached IS NOT NULL OR t.accepted_at IS NOT NULL OR t.refused_at IS NOT NULL OR t.refusal IS NOT NULL
) AS filled;

-- name: wrong
SELECT count(*) AS customers, min(customer_id) AS example FROM {rows} AS rows_to_check WHERE {wrong};

-- name: incoming
-- One row an attempt, however often it stands in the list; what differs is counted.
CREATE OR REPLACE TEMP TABLE answers_incoming AS
SELECT customer_id, min(arm) AS arm, "at", channel, caller, bool_or(reached) AS reached, max(accepted_at) AS accepted_at,
       max(refused_at) AS refused_at, max(refusal) AS refusal, count(*) AS lines,
       count(DISTINCT accepted_at) > 1 OR count(DISTINCT refused_at) > 1 OR count(DISTINCT refusal) > 1 AS differs
FROM answers_joined WHERE known GROUP BY customer_id, "at", channel, caller;

-- name: matched
-- Attempts that are known already, and what is new about them.
CREATE OR REPLACE TEMP TABLE answers_matched AS
SELECT i.customer_id, i."at", i.channel, i.caller, i.reached, i.accepted_at, i.refused_at, i.refusal,
       coalesce(i.accepted_at <> c.accepted_at, FALSE) OR coalesce(i.refused_at <> c.refused_at, FALSE)
           OR coalesce(i.refusal <> c.refusal, FALSE) AS contradicts,
       CASE WHEN {replace} THEN i.reached IS DISTINCT FROM c.reached OR i.accepted_at IS DISTINCT FROM c.accepted_at
                                 OR i.refused_at IS DISTINCT FROM c.refused_at OR i.refusal IS DISTINCT FROM c.refusal
            ELSE coalesce(i.reached, FALSE) AND NOT coalesce(c.reached, FALSE) OR i.reached IS NOT NULL AND c.reached IS NULL
                 OR i.accepted_at IS NOT NULL AND c.accepted_at IS NULL OR i.refused_at IS NOT NULL AND c.refused_at IS NULL
                 OR i.refusal IS NOT NULL AND c.refusal IS NULL END AS completes
FROM answers_incoming AS i JOIN (
    SELECT customer_id, "at", channel, caller, bool_or(reached) AS reached, max(accepted_at) AS accepted_at, max(refused_at) AS refused_at, max(refusal) AS refusal
    FROM answers_contacts WHERE experiment = {experiment} GROUP BY customer_id, "at", channel, caller
) AS c ON i.customer_id = c.customer_id AND i."at" IS NOT DISTINCT FROM c."at" AND i.channel IS NOT DISTINCT FROM c.channel
      AND i.caller IS NOT DISTINCT FROM c.caller;

-- name: merged
-- Known attempts with what is new about them, then the new ones. Other columns and tests stay as they are.
CREATE OR REPLACE TEMP TABLE answers_merged AS
SELECT c.* REPLACE ({cells})
FROM answers_contacts AS c
LEFT JOIN answers_matched AS m ON c.experiment = {experiment} AND c.customer_id = m.customer_id AND c."at" IS NOT DISTINCT FROM m."at"
      AND c.channel IS NOT DISTINCT FROM m.channel AND c.caller IS NOT DISTINCT FROM m.caller
UNION ALL BY NAME
SELECT {experiment} AS experiment, i.customer_id, i.arm, i."at", i.channel, i.caller, i.reached, i.accepted_at, i.refused_at, i.refusal
FROM answers_incoming AS i
WHERE NOT EXISTS (SELECT 1 FROM answers_matched AS m WHERE i.customer_id = m.customer_id AND i."at" IS NOT DISTINCT FROM m."at"
                  AND i.channel IS NOT DISTINCT FROM m.channel AND i.caller IS NOT DISTINCT FROM m.caller);

-- name: opposed
-- Customers of the test who said yes on one line and no on another.
SELECT count(*) AS customers, min(customer_id) AS example
FROM (SELECT customer_id FROM answers_merged WHERE experiment = {experiment}
      GROUP BY customer_id HAVING count(accepted_at) > 0 AND count(refused_at) > 0) AS both_said;

-- name: customers
SELECT count(DISTINCT CASE WHEN reached THEN customer_id END) AS reached, count(DISTINCT CASE WHEN accepted_at IS NOT NULL THEN customer_id END) AS accepted,
       count(DISTINCT CASE WHEN refused_at IS NOT NULL THEN customer_id END) AS refused, count(*) AS attempts
FROM answers_merged WHERE experiment = {experiment};
