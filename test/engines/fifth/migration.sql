-- A new value of an enum may be used by later transactions only, so nothing else stands here.
ALTER TYPE platform.database_type ADD VALUE IF NOT EXISTS 'memcached';
