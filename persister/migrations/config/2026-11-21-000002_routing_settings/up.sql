-- How threads are routed, of a tenant and of its groups: whole, as it travels to the router.
ALTER TABLE tenants ADD COLUMN routing jsonb NOT NULL DEFAULT '{}';
ALTER TABLE groups ADD COLUMN routing jsonb NOT NULL DEFAULT '{}';
