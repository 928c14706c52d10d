-- Makes delayed jobs of one queue ready whose time has come, at most so many.
-- KEYS: 1-3 streams, 4 delayed (sorted set), 5 delayed (hash), 6 counters, 7 signal, 8 jobs of nodes
-- ARGV: most jobs
-- An item in the hash is one character for the level, one for scheduled (s) or retryable (r), in capitals when its payload
-- has a key of its own, and the item of a frame.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[1])
local promoted, retried = 0, 0
for _, id in ipairs(due) do
  local item = redis.call('HGET', KEYS[5], id)
  redis.call('ZREM', KEYS[4], id)
  redis.call('HDEL', KEYS[5], id)
  if item then
    local level = tonumber(string.sub(item, 1, 1))
    local state = string.sub(item, 2, 2)
    if state == 'r' or state == 'R' then retried = retried + 1 end
    local body = string.sub(item, 3)
    local fields = {'n', 1}
    if redis.call('HEXISTS', KEYS[8], id) == 1 then fields[3], fields[4] = 'i', id end
    if state == 'R' or state == 'S' then fields[#fields + 1], fields[#fields + 2] = 'b', id end
    fields[#fields + 1], fields[#fields + 2] = 'f', struct.pack('<I4', #body) .. body
    redis.call('XADD', KEYS[1 + level], '*', unpack(fields))
    promoted = promoted + 1
  end
end
if promoted > 0 then
  redis.call('HINCRBY', KEYS[6], 'live', promoted)
  for _ = 1, math.min(promoted, 16) do redis.call('LPUSH', KEYS[7], '') end
  redis.call('LTRIM', KEYS[7], 0, 63)
end
-- Of a frame that could not be read nobody knows how many bytes it counted for.
if #due == 0 and (redis.call('HGET', KEYS[6], 'live') or '0') == '0' and redis.call('ZCARD', KEYS[4]) == 0
  and (redis.call('HGET', KEYS[6], 'bytes') or '0') ~= '0' then redis.call('HSET', KEYS[6], 'bytes', 0) end
if retried > 0 then redis.call('HINCRBY', KEYS[6], 'retryable', -retried) end
return promoted
