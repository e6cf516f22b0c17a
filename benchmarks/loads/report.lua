-- An order of 44 lines, 2 KB of JSON.
local lines = {}
for number = 1, 44 do
  lines[number] = string.format('{"sku":"SKU-%05d","count":%d,"price":"%d.50"}', number, number % 9 + 1, number)
end
wrk.method = "POST"
wrk.body = '{"lines":[' .. table.concat(lines, ",") .. "]}"
wrk.headers["Content-Type"] = "application/json"
