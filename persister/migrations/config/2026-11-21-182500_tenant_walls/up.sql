-- Row-level security: the second wall between tenants. The first is the tenant_id in every query of admin-api.
--
-- `chatbus_tenant` sees the rows of the one tenant that its transaction names in `chatbus.tenant`, and without one
-- none; `chatbus_system` sees all of them: logins that do not know their tenant yet, the outbox, what ends by itself.
-- Neither may pass row-level security; `FORCE` binds whoever owns the tables as well.

-- Walls a table in; called once for every table, by the migration that makes it.
CREATE FUNCTION wall_in(target regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mine text;
BEGIN
    mine := CASE
        WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'tenant_id' AND attnum > 0)
        THEN 'tenant_id = nullif(current_setting(''chatbus.tenant'', true), '''')::uuid'
        -- Of a person: seen through the account, which has a wall of its own.
        WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'account_id' AND attnum > 0)
        THEN format('EXISTS (SELECT FROM accounts WHERE accounts.id = %s.account_id)', target)
    END;
    IF mine IS NULL THEN
        RAISE EXCEPTION 'table % has neither tenant_id nor account_id: give it policies of its own', target;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY own_tenant ON %s TO chatbus_tenant USING (%s)', target, mine);
    EXECUTE format('CREATE POLICY every_tenant ON %s TO chatbus_system USING (true)', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO chatbus_tenant, chatbus_system', target);
END
$$;
REVOKE EXECUTE ON FUNCTION wall_in FROM PUBLIC;

DO $$
DECLARE
    target regclass;
BEGIN
    -- The persister looks whether the migrations that it knows were run, and at nothing else here.
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO chatbus_tenant, chatbus_system, chatbus_persister', current_schema());
    FOR target IN SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::text::regnamespace AND relkind = 'r'
            AND relname NOT IN ('accounts', '__diesel_schema_migrations') ORDER BY relname
    LOOP
        PERFORM wall_in(target);
    END LOOP;
END
$$;

-- Who works, or worked, in the tenant. A new account is nobody's yet.
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON accounts TO chatbus_tenant
    USING (EXISTS (SELECT FROM agents WHERE agents.account_id = accounts.id))
    WITH CHECK (nullif(current_setting('chatbus.tenant', true), '') IS NOT NULL);
CREATE POLICY every_tenant ON accounts TO chatbus_system USING (true);
GRANT SELECT, INSERT, UPDATE ON accounts TO chatbus_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO chatbus_system;
GRANT SELECT ON __diesel_schema_migrations TO chatbus_system, chatbus_persister;
-- What was done stays written down.
REVOKE UPDATE, DELETE ON audit_log FROM chatbus_tenant, chatbus_system;
