-- Visitors of whom nothing was written for so many days are forgotten; NULL: never.
ALTER TABLE tenants ADD COLUMN forget_after_days integer CHECK (forget_after_days BETWEEN 1 AND 3650);
-- When they are looked for next.
ALTER TABLE tenants ADD COLUMN lapses_due_at timestamptz NOT NULL DEFAULT '-infinity';
CREATE INDEX tenants_by_lapses_due ON tenants (lapses_due_at) WHERE forget_after_days IS NOT NULL;
