ALTER TABLE tenants DROP COLUMN lapses_due_at;
ALTER TABLE tenants DROP COLUMN forget_after_days;
