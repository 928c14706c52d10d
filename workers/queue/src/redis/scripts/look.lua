-- Looks at the generation of a queue's data: makes its beat larger, and begins another when it went back.
-- KEYS: 1 generation, 2 counters, 3 delayed jobs
-- ARGV: id and beat that were seen before (empty and 0 for none), a new id
-- Returns id, beat, the id before it when the data went back, jobs in the queue, the server's time in ms.
local id, back = unpack(redis.call('HMGET', KEYS[1], 'id', 'back'))
local beat = redis.call('HINCRBY', KEYS[1], 'beat', 1)
if not id then
  id = ARGV[3]
  redis.call('HSET', KEYS[1], 'id', id)
elseif id == ARGV[1] and beat <= tonumber(ARGV[2]) then
  back = id
  id = ARGV[3]
  redis.call('HSET', KEYS[1], 'id', id, 'back', back)
end
local live = tonumber(redis.call('HGET', KEYS[2], 'live') or '0')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {id, beat, back or '', live + redis.call('ZCARD', KEYS[3]), now}
