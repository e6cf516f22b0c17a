-- Three symbols that no other request asks for, so that no two calls of an upstream are the same.
local number = 0

request = function()
  number = number + 3
  local query = string.format("?symbol=A%d&symbol=A%d&symbol=A%d", number, number + 1, number + 2)
  return wrk.format("GET", "/prices" .. query)
end
