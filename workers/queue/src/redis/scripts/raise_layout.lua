-- Gives the data another layout if they have the one before it.
-- KEYS: 1 layout; ARGV: the one before, ours
-- Returns the layout that they have then.
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])
