//! A second opinion on addresses: the registry as data, read by algorithms that share nothing with the guard.
//!
//! Prefixes are compared as strings of binary digits, slow and plain, and the blocks of IPv4 are painted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Forbidden although no row of the registry says so: multicast, a cloud platform's service, and two anycast
/// addresses that the registry calls reachable but the nearest device answers.
const STRICTER_V4: &[&str] = &["224.0.0.0/4", "168.63.129.16/32", "192.0.0.9/32", "192.0.0.10/32"];

/// How many /24 blocks IPv4 has.
const V4_BLOCK_COUNT: usize = 1 << 24;

/// What the 256 addresses of a block have in common.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Block {
    Public,
    Forbidden,
    Mixed,
}

/// One prefix as binary digits, and whether an address in it may be reached.
struct Row {
    digits: String,
    is_v4: bool,
    reachable: bool,
}

/// The registries with the stricter rows added.
pub(crate) struct Registry(Vec<Row>);

impl Registry {
    pub(crate) fn read() -> Self {
        let registered = include_str!("../iana_special.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let mut columns = line.split_whitespace();
                let (prefix, reachable) = (columns.next().unwrap(), columns.next().unwrap());
                assert!(["true", "false", "n/a"].contains(&reachable), "{line}");
                Row::new(prefix, reachable == "true")
            });
        let stricter = STRICTER_V4.iter().map(|prefix| Row::new(prefix, false));
        // The stricter rows come last and so win against a row of the same length.
        Self(registered.chain(stricter).collect())
    }

    /// By the most specific row, public without one.
    pub(crate) fn allows_v4(&self, address: Ipv4Addr) -> bool {
        let digits = format!("{:032b}", address.to_bits());
        let rows = self
            .0
            .iter()
            .filter(|row| row.is_v4 && digits.starts_with(&row.digits));
        rows.max_by_key(|row| row.digits.len())
            .is_none_or(|row| row.reachable)
    }

    /// Global unicast, in no row at all (even a reachable one), and with no forbidden IPv4 address inside.
    pub(crate) fn allows_v6(&self, address: Ipv6Addr) -> bool {
        let digits = format!("{:0128b}", address.to_bits());
        let global_unicast = digits.starts_with("001");
        let special = self
            .0
            .iter()
            .any(|row| !row.is_v4 && digits.starts_with(&row.digits));
        // Among addresses that are global unicast and in no row, only ISATAP ones embed IPv4.
        let text = format!("{:032x}", address.to_bits());
        let isatap = ["00005efe", "02005efe"].contains(&&text[16..24]);
        let embedded = Ipv4Addr::from_bits(u32::from_str_radix(&text[24..], 16).unwrap());
        global_unicast && !special && (!isatap || self.allows_v4(embedded))
    }

    /// Every block of IPv4, painted with the rows from the widest to the narrowest.
    pub(crate) fn paint_v4_blocks(&self) -> Vec<Block> {
        let mut rows: Vec<&Row> = self.0.iter().filter(|row| row.is_v4).collect();
        rows.sort_by_key(|row| row.digits.len());
        let mut blocks = vec![Block::Public; V4_BLOCK_COUNT];
        for row in rows {
            let color = match row.reachable {
                true => Block::Public,
                false => Block::Forbidden,
            };
            let first = usize::from_str_radix(&format!("{:0<32}", row.digits), 2).unwrap() >> 8;
            let last = usize::from_str_radix(&format!("{:1<32}", row.digits), 2).unwrap() >> 8;
            let narrow = row.digits.len() > 24;
            for block in &mut blocks[first..=last] {
                *block = if narrow && *block != color {
                    Block::Mixed
                } else {
                    color
                };
            }
        }
        blocks
    }

    /// The numbers of all blocks that a row of IPv4 narrower than a block lies in.
    pub(crate) fn mixed_v4_blocks(&self) -> Vec<u32> {
        let narrow = self.0.iter().filter(|row| row.is_v4 && row.digits.len() > 24);
        narrow
            .map(|row| u32::from_str_radix(&row.digits[..24], 2).unwrap())
            .collect()
    }

    /// The first and the last address of every row, and the addresses just outside of it.
    pub(crate) fn edges(&self) -> Vec<IpAddr> {
        let edges_of = |row: &Row| -> Vec<IpAddr> {
            let (first, last) = row.bounds();
            let bits = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
            match row.is_v4 {
                true => bits
                    .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap())))
                    .to_vec(),
                false => bits.map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))).to_vec(),
            }
        };
        self.0.iter().flat_map(edges_of).collect()
    }

    /// A random address: by turns anywhere, in global unicast, in a row of the registry, and an ISATAP one.
    pub(crate) fn some_v6(&self, round: u32, random: &mut SplitMix) -> Ipv6Addr {
        let bits = random.next_u128();
        let global_unicast = bits >> 3 | 1 << 125;
        Ipv6Addr::from_bits(match round % 4 {
            0 => bits,
            1 => global_unicast,
            2 => {
                let rows: Vec<&Row> = self.0.iter().filter(|row| !row.is_v4).collect();
                let (first, last) = rows[usize::try_from(random.next_u64()).unwrap() % rows.len()].bounds();
                first | (bits & (last ^ first))
            }
            _ => {
                let universal_bit = u128::from(random.next_u64() & 1) << 57;
                // Half of them carry 10.0.0.0/8, for a random IPv4 address is mostly public.
                let embedded = match random.next_u64() & 1 {
                    0 => bits & 0xffff_ffff,
                    _ => 0x0a00_0000 | (bits & 0x00ff_ffff),
                };
                global_unicast >> 64 << 64 | universal_bit | 0x5efe << 32 | embedded
            }
        })
    }
}

impl Row {
    fn new(prefix: &str, reachable: bool) -> Self {
        let (address, length) = prefix.split_once('/').unwrap();
        let digits = match address.parse().unwrap() {
            IpAddr::V4(v4) => format!("{:032b}", v4.to_bits()),
            IpAddr::V6(v6) => format!("{:0128b}", v6.to_bits()),
        };
        let is_v4 = digits.len() == 32;
        let (digits, host_digits) = digits.split_at(length.parse().unwrap());
        assert!(!host_digits.contains('1'), "{prefix} has host bits");
        Self {
            digits: digits.to_owned(),
            is_v4,
            reachable,
        }
    }

    fn bounds(&self) -> (u128, u128) {
        let width = if self.is_v4 { 32 } else { 128 };
        let first = format!("{:0<width$}", self.digits);
        let last = format!("{:1<width$}", self.digits);
        (
            u128::from_str_radix(&first, 2).unwrap(),
            u128::from_str_radix(&last, 2).unwrap(),
        )
    }
}

/// SplitMix64: the same numbers in every run.
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}
