-- Who may be contacted how. In: consents(customer_id, channel, given_at, withdrawn_at), consent_channels(place, channel).
-- A consent without a channel is for all of them, one without a day is from ever. The last word counts, and of a day with
-- both the withdrawal. Out: allowed(customer_id, channels), who may be contacted by a channel at least; consent_days.

-- name: allowed
CREATE OR REPLACE TEMP TABLE allowed AS
SELECT customer_id, list(channel ORDER BY place) AS channels
FROM (
    SELECT k.customer_id, c.channel, c.place
    FROM (SELECT CAST(customer_id AS VARCHAR) AS customer_id, channel, withdrawn_at,
                 coalesce(given_at, CASE WHEN withdrawn_at IS NULL THEN DATE '1900-01-01' END) AS given_at
          FROM full_consents) AS k
    JOIN consent_channels AS c ON coalesce(k.channel, '') = '' OR lower(k.channel) = lower(c.channel)
    GROUP BY k.customer_id, c.channel, c.place
    HAVING max(CASE WHEN k.given_at <= DATE '{day}' THEN k.given_at END)
           > coalesce(max(CASE WHEN k.withdrawn_at <= DATE '{day}' THEN k.withdrawn_at END), DATE '0001-01-01')
) AS by_channel
GROUP BY customer_id;

-- name: consent_days
CREATE OR REPLACE TEMP TABLE consent_days AS
SELECT CAST(customer_id AS VARCHAR) AS customer_id, max(given_at) AS given_at
FROM full_consents WHERE given_at <= DATE '{day}' GROUP BY 1;
