-- Checks every answer of a run and prints one line of JSON at its end.
-- usage: wrk -s wrk.lua URL -- PORT...  One thread per port: threads take the ports in turn.

local threads = {}
local seen = {}
-- Read by done() from each thread.
boots = {}
wrong = 0
repeats = 0
first_wrong = ""

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  local port = arguments[1 + number % math.max(#arguments, 1)]
  if port then
    wrk.thread.addr = wrk.lookup("127.0.0.1", port)[1]
  end
end

function response(status, _, body)
  local boot, count = body:match('^{"boot": ?"([0-9a-f-]+)", ?"n": ?(%d+)}$')
  if status ~= 200 or not boot then
    wrong = wrong + 1
    if first_wrong == "" then first_wrong = status .. " " .. body:sub(1, 200) end
    return
  end
  local counts = seen[boot]
  if not counts then
    counts = {}
    seen[boot] = counts
    boots[boot] = 0
  end
  count = tonumber(count)
  if counts[count] then repeats = repeats + 1 end
  counts[count] = true
  boots[boot] = boots[boot] + 1
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency)
  local all_wrong, all_repeats, first, answers, sum = 0, 0, "", {}, 0
  for _, thread in ipairs(threads) do
    all_wrong = all_wrong + thread:get("wrong")
    all_repeats = all_repeats + thread:get("repeats")
    if first == "" then first = thread:get("first_wrong") end
    for boot, count in pairs(thread:get("boots")) do
      answers[boot] = (answers[boot] or 0) + count
      sum = sum + count
    end
  end
  local members = {}
  for boot, count in pairs(answers) do table.insert(members, quoted(boot) .. ":" .. count) end
  local errors = summary.errors
  io.write(string.format(
    '{"seconds":%.6f,"requests":%d,"checked":%d,"wrong":%d,"repeats":%d,"first_wrong":%s,"socket_errors":%d,"answers":{%s},' ..
      '"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.duration / 1e6, summary.requests, sum, all_wrong, all_repeats, quoted(first),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status, table.concat(members, ","),
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
