//! Random numbers, handed in.

/// A source of random numbers. The server's is cryptographically strong and seeded by the operating system; the tests'
/// runs from a printed seed.
pub trait Chance: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// Sixty-four random bits.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number of `0..=most`, near enough to uniform for spreading waits (the bias is below `most / 2^64`).
    fn up_to(&self, most: u64) -> u64 {
        let wide = u128::from(self.u64()) * (u128::from(most) + 1);
        u64::try_from(wide >> 64).unwrap_or(most)
    }
}
