//! What is asked of the databases so that two states can be compared, and how the answers are read.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::file::hex;
use super::manifest::{KeySpace, Sequence, Sum, Table};
use crate::operate::error::OperateError;

/// Everything that decides how a row reads as text, and no deadline: a snapshot is held for as long as its dump takes. The
/// names are looked up because not every version has them all.
const READING: &str = "SELECT count(set_config(name, '0', false)) AS vadev_unlimited FROM pg_settings \
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout') \\gset\n\
    SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; \
    SET bytea_output = 'hex'; SET extra_float_digits = 1; SET search_path = pg_catalog; SET row_security = off;";

/// Rows and sums of every ordinary table, and the state of every sequence: one JSON object a line. A row's digest is half of
/// the MD5 of its text; their sum does not depend on the order of rows.
const TABLES: &str = "\
SELECT format($f$SELECT json_build_object('table', %L, 'rows', count(*), 'checksum', \
coalesce(sum(('x' || substr(md5(vadev_row::text), 1, 16))::bit(64)::bigint::numeric), 0)::text) FROM ONLY %I.%I AS vadev_row$f$, \
n.nspname || '.' || c.relname, n.nspname, c.relname) \
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
UNION ALL \
SELECT format($f$SELECT json_build_object('sequence', %L, 'last', last_value, 'called', is_called) FROM %I.%I$f$, \
n.nspname || '.' || c.relname, n.nspname, c.relname) \
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind = 'S' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
\\gexec\n";

/// What ends an answer of psql's.
pub const END: &str = "-- vadev: end --";

/// psql's input that opens a snapshot and prints its id.
pub fn begin() -> String {
    format!("{READING}\nBEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n")
}

/// psql's input that prints the digest of what the session sees.
pub fn tables() -> String {
    format!("{READING}\n{TABLES}\\echo '{END}'\n")
}

/// Tables and sequences by qualified name.
pub type Tables = (BTreeMap<String, Table>, BTreeMap<String, Sequence>);

/// The answer to [`tables`].
pub fn read_tables(lines: impl IntoIterator<Item = String>) -> Result<Tables, OperateError> {
    let (mut tables, mut sequences) = (BTreeMap::new(), BTreeMap::new());
    for line in lines {
        let unreadable = |problem: &dyn std::fmt::Display| OperateError::unreadable("psql's answer", problem);
        let value: Value =
            serde_json::from_str(&line).map_err(|error| unreadable(&format!("{error}: {line}")))?;
        if let (Some(name), Some(rows), Some(checksum)) = (
            value["table"].as_str(),
            value["rows"].as_u64(),
            value["checksum"].as_str(),
        ) {
            let checksum = checksum.to_owned();
            tables.insert(name.to_owned(), Table { rows, checksum });
        } else if let (Some(name), Some(last), Some(called)) = (
            value["sequence"].as_str(),
            value["last"].as_i64(),
            value["called"].as_bool(),
        ) {
            sequences.insert(name.to_owned(), Sequence { last, called });
        } else {
            return Err(unreadable(&line));
        }
    }
    Ok((tables, sequences))
}

/// SHA-256 of definitions as `pg_dump --schema-only` prints them, without what differs from run to run: comments with
/// versions, and the random words of `\restrict`.
pub fn schema(dump: &str) -> String {
    let mut hash = Sha256::new();
    for line in dump.lines() {
        let noise =
            line.starts_with("--") || line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
        if !noise && !line.trim().is_empty() {
            hash.update(line);
            hash.update("\n");
        }
    }
    hex(&hash.finalize())
}

/// Sums of some keys, asked again with the cursor it gives until that is 0. Two halves of 24 bits, because Lua's numbers lose
/// bits above 53. Sets and hashes are sorted: their order is another in every process.
pub const KEYS: &str = r"
local slots = {}
local page = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
for _, key in ipairs(page[2]) do
  local kind = redis.call('TYPE', key)['ok']
  local expires = redis.call('PEXPIRETIME', key)
  if kind ~= 'none' then
    local value
    if kind == 'string' then
      value = redis.sha1hex(redis.call('GET', key) or '')
    else
      local items
      if kind == 'list' then
        items = redis.call('LRANGE', key, 0, -1)
      elseif kind == 'set' then
        items = redis.call('SMEMBERS', key)
        table.sort(items)
      elseif kind == 'hash' then
        local flat = redis.call('HGETALL', key)
        items = {}
        for i = 1, #flat, 2 do items[#items + 1] = #flat[i] .. ':' .. flat[i] .. flat[i + 1] end
        table.sort(items)
      elseif kind == 'zset' then
        items = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
      elseif kind == 'stream' then
        items = {}
        for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
          items[#items + 1] = entry[1]
          for _, field in ipairs(entry[2]) do items[#items + 1] = field end
        end
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
          for _, field in ipairs(group) do items[#items + 1] = tostring(field) end
        end
      else
        items = { redis.call('DUMP', key) }
      end
      local digests = {}
      for i, item in ipairs(items) do digests[i] = redis.sha1hex(item) end
      value = redis.sha1hex(table.concat(digests))
    end
    local all = redis.sha1hex(#key .. ':' .. key .. kind .. string.format('%.0f', expires) .. value)
    local slot = -1
    if expires >= 0 then slot = math.floor(expires / 600000) end
    local sum = slots[slot] or { 0, 0, 0 }
    sum[1] = sum[1] + 1
    sum[2] = sum[2] + tonumber(string.sub(all, 1, 6), 16)
    sum[3] = sum[3] + tonumber(string.sub(all, 7, 12), 16)
    slots[slot] = sum
  end
end
local answer = { page[1] }
for slot, sum in pairs(slots) do
  answer[#answer + 1] = string.format('%.0f %.0f %.0f %.0f', slot, sum[1], sum[2], sum[3])
end
return answer
";

/// Adds the pages of [`KEYS`] up; lines without blanks are cursors.
pub fn read_keys(answer: &str) -> Result<KeySpace, OperateError> {
    let mut space = KeySpace::default();
    for line in answer.lines().filter(|line| line.contains(' ')) {
        let numbers: Vec<i64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [slot, keys, high, low] = numbers[..] else {
            return Err(OperateError::unreadable("redis-cli's answer", line));
        };
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        let sum = match u64::try_from(slot) {
            Ok(slot) => space.expiring.entry(slot).or_default(),
            Err(_) => &mut space.lasting,
        };
        add(
            sum,
            unsigned(keys),
            (unsigned(high) << 24).wrapping_add(unsigned(low)),
        );
    }
    Ok(space)
}

fn add(sum: &mut Sum, keys: u64, checksum: u64) {
    sum.keys += keys;
    sum.checksum = sum.checksum.wrapping_add(checksum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let lines = [
            r#"{"table" : "public.t", "rows" : 2, "checksum" : "-17"}"#,
            r#"{"sequence" : "public.t_id_seq", "last" : 2, "called" : true}"#,
        ];
        let (tables, sequences) = read_tables(lines.map(str::to_owned)).unwrap();
        assert_eq!(tables["public.t"].rows, 2);
        assert!(sequences["public.t_id_seq"].called);
        assert!(read_tables(["ERROR: no".to_owned()]).is_err());
    }

    #[test]
    fn pages_of_keys_add_up() {
        let space = read_keys("17\n-1 2 1 5\n0\n-1 1 0 1\n3 4 0 9\n").unwrap();
        assert_eq!((space.lasting.keys, space.lasting.checksum), (3, (1 << 24) + 6));
        assert_eq!(space.expiring[&3].keys, 4);
        assert!(read_keys("ERR something bad").is_err());
    }

    #[test]
    fn a_snapshot_is_opened_without_deadlines() {
        let sql = begin();
        let (before, after) = sql.split_once("BEGIN").unwrap();
        assert!(before.contains("'idle_in_transaction_session_timeout'") && before.contains(") \\gset\nSET"));
        assert!(after.contains("pg_export_snapshot"));
    }

    #[test]
    fn definitions_are_compared_without_noise() {
        let a = "-- Dumped by 15.1\n\\restrict abc\nCREATE TABLE t ();\n\\unrestrict abc\n";
        let b = "\n-- Dumped by 15.2\n\\restrict xyz\nCREATE TABLE t ();\n";
        assert_eq!(schema(a), schema(b));
        assert_ne!(schema(a), schema("CREATE TABLE u ();"));
    }
}
