-- Moves jobs of one queue out of where they are, and does what follows from it, if they still are there.
-- KEYS: 1-3 streams, 4 delayed (sorted set), 5 delayed (hash), 6 counters, 7 signal, 8 running, 9 cancelled ids,
--   10 discarded (sorted set), 11 discarded (hash), 12 history, 13 jobs of nodes,
--   14.. unique keys, results, what was told, outbox, frames set aside, payloads
-- ARGV: discarded allowed, history allowed, then for each move its source, the number of its effects, and the effects.
--   sources, five each: 'p' level entry jobs min_idle_ms   a pending frame, idle for so long if that is not 0
--                       'q' level entry jobs 0             a frame that nobody has
--                       'z' id retryable(0|1) 0 0          a delayed job
--                       'd' id 0 0 0                       a discarded job
--   effects, five each: 'a' level frame node_id id         a job into a stream; its id twice, or '': if it is the job of a
--                                                          node, and if its payload has a key of its own
--                       'z' id due retryable(0|1) item     delayed
--                       'd' id item 0 0                    discarded
--                       'h' item 0 0 0                     into the history
--                       'u' key_number id 0 0              frees a unique key
--                       'k' key_number id period 0         claims one
--                       'r' key_number ms result 0         keeps a result
--                       'o' key_number entry id 0          tells a workflow of a job's end
--                       't' key_number 0 0 0               deletes what was told about the job, or its payload
--                       's' key_number payload 0 0         keeps its payload
--                       'e' key_number ms 0 0              lets a payload expire
--                       'b' key_number frame most 0        keeps a frame for a look
--                       'c' counter by 0 0                 counts
--                       'x' id 0 0 0                       forgets a request to cancel
-- Returns 1 for each move that was made, 0 for each that was not.
local answers = {}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at, tokens, freed = 3, 0, false

local function leaves(kind, a, b, c, d)
  if kind == 'p' then
    local stream = KEYS[1 + a]
    if d ~= '0' then
      local idle = redis.pcall('XPENDING', stream, 'workers', 'IDLE', d, b, b, 1)
      if idle.err or #idle == 0 then return false end
    end
    local acked = redis.pcall('XACK', stream, 'workers', b)
    if acked ~= 1 then return false end
    redis.call('XDEL', stream, b)
    redis.call('HDEL', KEYS[8], a .. ':' .. b)
    redis.call('HINCRBY', KEYS[6], 'live', -tonumber(c))
    freed = true
    return true
  elseif kind == 'q' then
    local stream = KEYS[1 + a]
    local pending = redis.pcall('XPENDING', stream, 'workers', b, b, 1)
    if not pending.err and #pending > 0 then return false end
    if redis.call('XDEL', stream, b) ~= 1 then return false end
    redis.call('HINCRBY', KEYS[6], 'live', -tonumber(c))
    return true
  elseif kind == 'z' then
    if redis.call('ZREM', KEYS[4], a) ~= 1 then return false end
    redis.call('HDEL', KEYS[5], a)
    if b == '1' then redis.call('HINCRBY', KEYS[6], 'retryable', -1) end
    return true
  end
  if redis.call('ZREM', KEYS[10], a) ~= 1 then return false end
  redis.call('HDEL', KEYS[11], a)
  return true
end

local function effect(kind, a, b, c, d)
  if kind == 'a' then
    local fields = {'n', 1}
    if c ~= '' then fields[3], fields[4] = 'i', c end
    if d ~= '' then fields[#fields + 1], fields[#fields + 2] = 'b', d end
    fields[#fields + 1], fields[#fields + 2] = 'f', b
    redis.call('XADD', KEYS[1 + a], '*', unpack(fields))
    redis.call('HINCRBY', KEYS[6], 'live', 1)
    tokens = tokens + 1
  elseif kind == 'z' then
    redis.call('ZADD', KEYS[4], b, a)
    redis.call('HSET', KEYS[5], a, d)
    if c == '1' then redis.call('HINCRBY', KEYS[6], 'retryable', 1) end
  elseif kind == 'd' then
    redis.call('ZADD', KEYS[10], now, a)
    redis.call('HSET', KEYS[11], a, b)
    local over = redis.call('ZCARD', KEYS[10]) - tonumber(ARGV[1])
    if over > 0 then
      local oldest = redis.call('ZRANGE', KEYS[10], 0, math.min(over, 64) - 1)
      for _, id in ipairs(oldest) do
        redis.call('ZREM', KEYS[10], id)
        redis.call('HDEL', KEYS[11], id)
      end
      redis.call('HINCRBY', KEYS[6], 'discarded_dropped', #oldest)
    end
  elseif kind == 'h' then
    redis.call('LPUSH', KEYS[12], a)
    redis.call('LTRIM', KEYS[12], 0, ARGV[2] - 1)
  elseif kind == 'u' then
    -- A key with a period outlives its job.
    local name = KEYS[13 + a]
    if redis.call('GET', name) == b and redis.call('PTTL', name) == -1 then redis.call('DEL', name) end
  elseif kind == 'k' then
    local name = KEYS[13 + a]
    if c == '0' then redis.call('SET', name, b, 'NX') else redis.call('SET', name, b, 'NX', 'PX', c) end
  elseif kind == 'r' then
    redis.call('SET', KEYS[13 + a], c, 'PX', b)
  elseif kind == 'o' then
    redis.call('RPUSH', KEYS[13 + a], b)
    redis.call('HDEL', KEYS[13], c)
  elseif kind == 'b' then
    redis.call('LPUSH', KEYS[13 + a], b)
    redis.call('LTRIM', KEYS[13 + a], 0, c - 1)
  elseif kind == 't' then
    redis.call('DEL', KEYS[13 + a])
  elseif kind == 's' then
    redis.call('SET', KEYS[13 + a], b)
  elseif kind == 'e' then
    redis.call('PEXPIRE', KEYS[13 + a], b)
  elseif kind == 'c' then
    redis.call('HINCRBY', KEYS[6], a, b)
  elseif kind == 'x' then
    redis.call('SREM', KEYS[9], a)
  end
end

while at <= #ARGV do
  local moved = leaves(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  local effects = tonumber(ARGV[at + 5])
  at = at + 6
  for _ = 1, effects do
    if moved then effect(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]) end
    at = at + 5
  end
  if not moved then redis.call('HINCRBY', KEYS[6], 'stale', 1) end
  answers[#answers + 1] = moved and 1 or 0
end
-- Where only so many run at one time, the next may start.
if freed and tokens == 0 and redis.call('HEXISTS', KEYS[6], 'running_max') == 1 then tokens = 1 end
for _ = 1, math.min(tokens, 16) do redis.call('LPUSH', KEYS[7], '') end
if tokens > 0 then redis.call('LTRIM', KEYS[7], 0, 63) end
return answers
