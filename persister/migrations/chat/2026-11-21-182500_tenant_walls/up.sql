-- Row-level security: the second wall between tenants. `chatbus_persister` writes the whole shard and reads nothing
-- but this schema; `chatbus_tenant` reads the rows of the one tenant that its transaction names in `chatbus.tenant`,
-- and without one none; `chatbus_system` reads how far the log was read. None of them may pass row-level security.

-- Walls a table in; called once for every table, by the migration that makes it.
CREATE FUNCTION wall_in(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY every_tenant ON %s TO chatbus_persister USING (true)', target);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO chatbus_persister', target);
    EXECUTE format('CREATE POLICY own_tenant ON %s FOR SELECT TO chatbus_tenant '
        'USING (tenant_id = nullif(current_setting(''chatbus.tenant'', true), '''')::uuid)', target);
    EXECUTE format('GRANT SELECT ON %s TO chatbus_tenant', target);
END
$$;
REVOKE EXECUTE ON FUNCTION wall_in FROM PUBLIC;

DO $$
DECLARE
    target regclass;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO chatbus_persister, chatbus_tenant, chatbus_system',
        current_schema());
    FOR target IN SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::text::regnamespace AND relkind = 'r'
            AND relname NOT IN ('watermark', '__diesel_schema_migrations') ORDER BY relname
    LOOP
        PERFORM wall_in(target);
    END LOOP;
END
$$;

-- Of the shard, not of a tenant; neither goes back nor away.
ALTER TABLE watermark ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON watermark TO chatbus_persister USING (true);
CREATE POLICY seen_by_system ON watermark FOR SELECT TO chatbus_system USING (true);
GRANT SELECT, INSERT, UPDATE ON watermark TO chatbus_persister;
GRANT SELECT ON watermark TO chatbus_system;
-- What could not be read is kept until somebody looks, and is for operators.
REVOKE UPDATE, DELETE ON parked FROM chatbus_persister;
REVOKE SELECT ON parked FROM chatbus_tenant;
DROP POLICY own_tenant ON parked;
CREATE POLICY seen_by_system ON parked FOR SELECT TO chatbus_system USING (true);
GRANT SELECT ON parked TO chatbus_system;
GRANT SELECT ON __diesel_schema_migrations TO chatbus_persister, chatbus_system;
