-- The ledger: one chance a customer. The same texts for a DuckDB file and for Postgres.
-- {to}: where is written (winback_ledger; for a file its next version, winback_ledger_next). Filled in by ledger.py.
-- A customer's events are numbered without a gap: 1 assigned, 2 released, 3 assigned again ... Rows are only added.

-- name: create
CREATE TABLE {to}.about (version INTEGER NOT NULL);
INSERT INTO {to}.about VALUES ({version});
CREATE TABLE {to}.bookings (
    booking INTEGER PRIMARY KEY, kind VARCHAR NOT NULL, "at" DATE NOT NULL,
    booked_at TIMESTAMP NOT NULL, customers BIGINT NOT NULL CHECK (customers >= 0),
    experiment VARCHAR, seed BIGINT, plan_hash VARCHAR, holdout VARCHAR,
    reason VARCHAR, "by" VARCHAR NOT NULL, digest VARCHAR NOT NULL, chain VARCHAR NOT NULL);
CREATE TABLE {to}.events (
    booking INTEGER NOT NULL, customer_id {text} NOT NULL, step INTEGER NOT NULL CHECK (step > 0),
    experiment VARCHAR NOT NULL, arm VARCHAR NOT NULL, stratum VARCHAR NOT NULL, bucket INTEGER NOT NULL {key});
CREATE VIEW {to}.ledger AS
SELECT e.booking, e.customer_id, e.step, b.kind, b."at", b.booked_at, e.experiment, e.arm, e.stratum, e.bucket,
       b.reason, b."by"
FROM {to}.events AS e JOIN {to}.bookings AS b ON e.booking = b.booking;
CREATE VIEW {to}.chances AS
SELECT a.booking, a.customer_id, a.step, a.experiment, a.arm, a.stratum, a.bucket, b."at", b.holdout,
       r."at" AS released_at
FROM {to}.events AS a JOIN {to}.bookings AS b ON a.booking = b.booking AND b.kind = 'assigned'
LEFT JOIN (SELECT customer_id, step, "at" FROM {to}.ledger WHERE kind = 'released') AS r
       ON a.customer_id = r.customer_id AND a.step + 1 = r.step;
-- Not chances WHERE released_at IS NULL: Postgres would expect one row of it and join millions one by one.
CREATE VIEW {to}.open_chances AS
SELECT a.booking, a.customer_id, a.step, a.experiment, a.arm, a.stratum, a.bucket, b."at", b.holdout
FROM {to}.events AS a JOIN {to}.bookings AS b ON a.booking = b.booking AND b.kind = 'assigned'
WHERE NOT EXISTS (SELECT 1 FROM {to}.events AS r
                  WHERE r.step % 2 = 0 AND r.customer_id = a.customer_id AND r.step = a.step + 1);

-- name: rewritten
-- A ledger of version 1, as of version 2: plans are amended, people forgotten, and an experiment is in several bookings.
INSERT INTO {to}.about VALUES ({version});
INSERT INTO {to}.bookings SELECT * FROM winback_ledger.bookings;
INSERT INTO {to}.events SELECT * FROM winback_ledger.events;

-- name: altered
-- The same for Postgres, in place.
ALTER TABLE winback_ledger.bookings DROP CONSTRAINT IF EXISTS bookings_kind_check;
ALTER TABLE winback_ledger.bookings DROP CONSTRAINT IF EXISTS bookings_customers_check;
ALTER TABLE winback_ledger.bookings DROP CONSTRAINT IF EXISTS bookings_experiment_key;
UPDATE winback_ledger.about SET version = {version};

-- name: once
-- Postgres only: an experiment is assigned once.
CREATE UNIQUE INDEX assigned_once ON winback_ledger.bookings (experiment) WHERE kind = 'assigned';

-- name: guard
-- Postgres only: nobody changes history by accident.
CREATE FUNCTION {to}.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'The ledger is only added to: % of %.% refused.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME; END$$;
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON {to}.events
    FOR EACH STATEMENT EXECUTE FUNCTION {to}.refuse();
CREATE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON {to}.bookings
    FOR EACH STATEMENT EXECUTE FUNCTION {to}.refuse();

-- name: incoming
-- Customers as every table writes them: a blank at the end is no second chance.
CREATE OR REPLACE TEMP VIEW winback_incoming AS
SELECT {customer} AS customer_id, CAST({experiment} AS VARCHAR) AS experiment,
       CAST({arm} AS VARCHAR) AS arm, CAST({stratum} AS VARCHAR) AS stratum, CAST({bucket} AS INTEGER) AS bucket
FROM {table};

-- name: assigned
-- The rule itself: only who has never been assigned, or was released last, is added. Fewer rows than asked for, and all
-- is rolled back.
INSERT INTO {to}.events
SELECT {booking}, i.customer_id, coalesce(l.step, 0) + 1, i.experiment, i.arm, i.stratum, i.bucket
FROM winback_incoming AS i
LEFT JOIN (SELECT e.customer_id, max(e.step) AS step FROM winback_ledger.events AS e
           WHERE e.customer_id IN (SELECT customer_id FROM winback_incoming) GROUP BY e.customer_id) AS l
       ON i.customer_id = l.customer_id
WHERE coalesce(l.step, 0) % 2 = 0;

-- name: released
INSERT INTO {to}.events
SELECT {booking}, customer_id, step + 1, experiment, arm, stratum, bucket FROM {rows};

-- name: to_release
SELECT 0 AS booking, o.customer_id, o.step, o.experiment, o.arm, o.stratum, o.bucket
FROM winback_incoming AS i JOIN winback_ledger.open_chances AS o ON i.customer_id = o.customer_id

-- name: unknown
SELECT count(*), min(customer_id) FROM winback_incoming AS i
WHERE NOT EXISTS (SELECT 1 FROM winback_ledger.events AS e WHERE e.customer_id = i.customer_id);

-- name: taken
-- Whose chance stands against a booking: customers by experiment, with one of them.
SELECT o.experiment, count(*) AS customers, min(o.customer_id)
FROM winback_incoming AS i JOIN winback_ledger.open_chances AS o ON i.customer_id = o.customer_id
WHERE o.booking <> {booking}
GROUP BY o.experiment ORDER BY customers DESC, o.experiment;

-- name: digests
-- Sums of 60 bits of md5: the same in any row order and on both engines. Text fields are divided by a character of none.
SELECT booking, count(*), CAST(sum({number}) AS VARCHAR)
FROM (SELECT booking, md5(concat_ws(chr(31), customer_id, experiment, arm, stratum, CAST(bucket AS VARCHAR))) AS code
      FROM {rows}) AS coded
GROUP BY booking ORDER BY booking;

-- name: holdout_contacts
-- Contacts of customers who were held out: from the day of assignment on, whatever was released since, until another
-- test has them. Without a day: of those held out now.
CREATE OR REPLACE TEMP TABLE holdout_contacts AS
SELECT h.experiment AS held_out_in, c.*
FROM {table} AS c JOIN (
    SELECT t.customer_id, t.experiment, t."at", t.released_at,
           t.arm = t.holdout AS held_out,
           lead(t."at") OVER (PARTITION BY t.customer_id ORDER BY t.step) AS until
    FROM {chances} AS t
) AS h ON CAST(c.customer_id AS VARCHAR) = h.customer_id
WHERE h.held_out AND ({day} IS NULL AND h.released_at IS NULL OR {day} >= h."at" AND ({day} < h.until OR h.until IS NULL));

-- name: gaps
-- Events that no booking knows, that stand twice, or that follow upon nothing.
SELECT count(DISTINCT customer_id), min(customer_id) FROM (
    SELECT e.customer_id FROM winback_ledger.events AS e
    LEFT JOIN winback_ledger.bookings AS b ON e.booking = b.booking
    WHERE b.booking IS NULL OR (b.kind = 'assigned') <> (e.step % 2 = 1)
    UNION ALL
    SELECT customer_id FROM winback_ledger.events GROUP BY customer_id
    HAVING count(*) <> max(step) OR count(DISTINCT step) <> max(step)
) AS wrong;

-- name: standing
SELECT experiment, arm, count(*), count(released_at) FROM winback_ledger.chances GROUP BY experiment, arm
ORDER BY experiment, arm;
