DO $$
DECLARE
    target regclass;
    policy name;
BEGIN
    FOR target, policy IN SELECT p.polrelid, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = current_schema()::text::regnamespace
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy, target);
    END LOOP;
    FOR target IN SELECT oid FROM pg_class
        WHERE relnamespace = current_schema()::text::regnamespace AND relkind = 'r' AND relrowsecurity
    LOOP
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', target);
        EXECUTE format('REVOKE ALL ON %s FROM chatbus_tenant, chatbus_system', target);
    END LOOP;
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM chatbus_tenant, chatbus_system, chatbus_persister',
        current_schema());
END
$$;
REVOKE ALL ON __diesel_schema_migrations FROM chatbus_system, chatbus_persister;
DROP FUNCTION wall_in;
