(row_number() OVER (PARTITION BY arm ORDER BY md5(concat('{seed}:bucket:', customer_id)), customer_id) - 1) % {buckets}
