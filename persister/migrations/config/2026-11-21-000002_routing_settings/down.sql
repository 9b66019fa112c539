ALTER TABLE groups DROP COLUMN routing;
ALTER TABLE tenants DROP COLUMN routing;
