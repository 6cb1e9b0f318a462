//! A small generator whose whole state is its seed (SplitMix64, Steele, Lea & Flood 2014).

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// Mostly small, seldom large, often at the edge of a size class.
    pub fn len(&mut self) -> usize {
        let class = match self.below(1000) {
            0..600 => self.below(4),
            600..900 => self.below(8),
            900..998 => self.below(12),
            _ => self.below(16),
        };
        let size = 64 << class;
        match self.below(4) {
            0 => size - 1 + self.below(3),
            _ => self.below(size + 1),
        }
    }
}

pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
