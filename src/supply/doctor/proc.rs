//! Reading what the Linux kernel tells under `/proc`. Pure: the texts come in as values.

/// A field of `/proc/meminfo`, in bytes.
pub fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The inodes of the sockets that listen on a TCP port, out of `/proc/net/tcp` or `/proc/net/tcp6`, whatever their address.
pub fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, hex) = local.rsplit_once(':')?;
        let matches = *state == LISTEN && u16::from_str_radix(hex, 16) == Ok(port);
        matches.then(|| inode.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// The inode in the target of a `/proc/PID/fd/N` link that is a socket: `socket:[4711]`.
pub fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Bytes for people, in binary units.
pub fn gibibytes(bytes: u64) -> String {
    // Integers keep it exact; one decimal is enough.
    let tenths = bytes / (1 << 20) * 10 / 1024;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_in_kibibytes() {
        let text = "MemTotal:       24684392 kB\nMemAvailable:   20000000 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_684_392 * 1024));
        assert_eq!(meminfo(text, "MemFree"), None);
        assert_eq!(meminfo(text, "Mem"), None, "a prefix is not the field");
        assert_eq!(meminfo(text, "HugePages_Total"), None, "not a size");
    }

    #[test]
    fn finds_listeners_and_not_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 292038 1 0 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 504 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0
   3: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9 1 0 100 0 0 10 0
   4: cut short";
        assert_eq!(listening_inodes(table, 8080), [292_038, 504]);
        assert_eq!(listening_inodes(table, 8443), [9]);
        assert!(listening_inodes(table, 80).is_empty());
        let six = "header\n 0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 31 1";
        assert_eq!(listening_inodes(six, 8080), [31]);
    }

    #[test]
    fn reads_links_and_sizes() {
        assert_eq!(socket_inode("socket:[504]"), Some(504));
        assert_eq!(socket_inode("/dev/null"), None);
        assert_eq!(gibibytes(24_684_392 * 1024), "23.5 GiB");
        assert_eq!(gibibytes(512 << 20), "0.5 GiB");
    }
}
