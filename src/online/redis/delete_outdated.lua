-- Deletes the row of one view of one entity, unless this definition made it: StoredRow::is_among,
-- beside the data, so that no row is deleted that was replaced since somebody looked.
--
-- KEYS[1]  the key of the entity
-- ARGV[1]  the field: the id of the view
-- ARGV[2]  what values begin with that the definition made: 17 bytes, which follow the version (25)
--
-- Gives how many rows were deleted: 0 or 1.
local row = redis.call('HGET', KEYS[1], ARGV[1])
if row and string.sub(row, 26, 42) ~= ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
