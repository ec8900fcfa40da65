-- A simulated company, drawn by the engine. DuckDB only: the simulator never runs elsewhere.
-- Small tables come from Python: kinds, odds, survival, delays, arm_shares; settings are variables.
-- Customers: first those lost and assigned, then those who stayed, then the lost whom nobody assigns.
CREATE MACRO bits(id, k) AS md5_number_lower(getvariable('seed') || ':' || id || ':' || k);
CREATE MACRO first_half(word) AS (word >> 32) / 4294967296.0;
CREATE MACRO second_half(word) AS (word & 4294967295) / 4294967296.0;

CREATE TEMP TABLE people AS
WITH words AS (
    SELECT i AS customer_id, i <= getvariable('customers') AS to_assign,
           i > getvariable('customers') AND i <= getvariable('customers') + getvariable('stayed') AS stayed,
           bits(i, 1) AS w1, bits(i, 2) AS w2, bits(i, 3) AS w3, bits(i, 4) AS w4, bits(i, 5) AS w5
    FROM range(1, 1 + getvariable('customers') + getvariable('stayed') + getvariable('others')) AS t(i)
), uniforms AS (
    SELECT customer_id, to_assign, stayed,
           first_half(w1) AS u_kind, second_half(w1) AS u_accept,
           first_half(w2) AS u_alone, second_half(w2) AS u_delay,
           first_half(w3) AS u_life, second_half(w3) AS u_follow_up,
           sqrt(-2 * ln(1 - first_half(w4))) * cos(2 * pi() * second_half(w4)) AS z_margin,
           first_half(w5) AS u_whale, second_half(w5) AS u_history
    FROM words
)
SELECT u.*, k.kind, k.recorded AS reason, k.referral, k.complaint, k.tier, k.goodwill,
       CAST(round(100 * k.margin * exp(0.6 * z_margin - 0.18)
                  * CASE WHEN u_whale < 0.01 THEN getvariable('whale') ELSE 1 END
                  / (0.99 + 0.01 * getvariable('whale'))) AS BIGINT) AS margin_cents
FROM uniforms AS u ASOF JOIN (SELECT *, upto - share AS above FROM kinds) AS k ON u.u_kind >= k.above;

CREATE TEMP VIEW to_assign AS
SELECT customer_id, concat(reason, ' / ', tier) AS stratum FROM people WHERE to_assign;
-- then: the product's own assign.sql, simulate_outcomes.sql and, with history, simulate_history.sql
