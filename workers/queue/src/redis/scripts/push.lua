-- Queues jobs of one queue, all or none.
-- KEYS: 1-3 streams, 4 delayed (sorted set), 5 delayed (hash), 6 counters, 7 signal, 8 jobs of nodes, 9.. unique keys,
--   then payloads, in the order of the parts
-- ARGV: jobs allowed, bytes allowed (2^52 and more: the queue's own settings do not count either), jobs, bytes, unique keys,
--   then eleven per part:
--   'f' (frame) | 'd' (delayed), level, jobs, bytes, due ms, id, number of its unique key or 0, ms of the key or 0,
--   its node or '', ids of its jobs whose payloads have keys of their own (16 bytes each), blob
-- Of the jobs that are taken it makes the keys of their payloads, empty. The transaction that this call is in goes on to fill
-- those that are there; of a job that is not taken there is none.
-- Returns {'draining'}, or {'full', waiting, unit, limit, 1 if that is the queue's own}, or {'ok', for each part '' or the id that holds its key}.
local jobs, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local now = redis.call('HMGET', KEYS[6], 'live', 'bytes', 'draining', 'jobs_max', 'bytes_max')
if tonumber(ARGV[1]) < 4503599627370496 then
  if now[3] then return {'draining'} end
  local live = tonumber(now[1] or 0) + redis.call('ZCARD', KEYS[4])
  local jobs_max = tonumber(now[4] or ARGV[1])
  if live + jobs > jobs_max then return {'full', live, 'jobs', jobs_max, now[4] and 1 or 0} end
  local held = tonumber(now[2] or 0)
  local bytes_max = tonumber(now[5] or ARGV[2])
  if held + bytes > bytes_max then return {'full', held, 'bytes', bytes_max, now[5] and 1 or 0} end
end
local answers = {'ok'}
local added, added_live, added_bytes, duplicates, frames = 0, 0, 0, 0, 0
local payload = 9 + ARGV[5]
for at = 6, #ARGV, 11 do
  local holder = false
  local key = tonumber(ARGV[at + 6])
  if key > 0 then
    local name = KEYS[8 + key]
    holder = redis.call('GET', name)
    if not holder then
      local period = tonumber(ARGV[at + 7])
      if period > 0 then redis.call('SET', name, ARGV[at + 5], 'PX', ARGV[at + 7])
      else redis.call('SET', name, ARGV[at + 5]) end
    end
  end
  local apart = ARGV[at + 9]
  if holder then
    payload = payload + #apart / 16
    duplicates = duplicates + 1
    answers[#answers + 1] = holder
  else
    local n = tonumber(ARGV[at + 2])
    added = added + n
    added_bytes = added_bytes + tonumber(ARGV[at + 3])
    for _ = 1, #apart / 16 do
      redis.call('SET', KEYS[payload], '')
      payload = payload + 1
    end
    local node = ARGV[at + 8]
    if node ~= '' then redis.call('HSET', KEYS[8], ARGV[at + 5], node) end
    if ARGV[at] == 'f' then
      local fields = {'n', n}
      if node ~= '' then fields[3], fields[4] = 'i', ARGV[at + 5] end
      if apart ~= '' then fields[#fields + 1], fields[#fields + 2] = 'b', apart end
      fields[#fields + 1], fields[#fields + 2] = 'f', ARGV[at + 10]
      redis.call('XADD', KEYS[1 + ARGV[at + 1]], '*', unpack(fields))
      added_live = added_live + n
      frames = frames + 1
    else
      redis.call('ZADD', KEYS[4], ARGV[at + 4], ARGV[at + 5])
      redis.call('HSET', KEYS[5], ARGV[at + 5], ARGV[at + 10])
    end
    answers[#answers + 1] = ''
  end
end
if added > 0 then
  redis.call('HINCRBY', KEYS[6], 'pushed', added)
  redis.call('HINCRBY', KEYS[6], 'bytes', added_bytes)
end
if added_live > 0 then redis.call('HINCRBY', KEYS[6], 'live', added_live) end
if duplicates > 0 then redis.call('HINCRBY', KEYS[6], 'duplicates', duplicates) end
for _ = 1, math.min(frames, 16) do redis.call('LPUSH', KEYS[7], '') end
if frames > 0 then redis.call('LTRIM', KEYS[7], 0, 63) end
return answers
