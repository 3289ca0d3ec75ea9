//! Times of inodes: 32 bits of seconds, and in the extra fields two more bits and the nanoseconds.

use vmroot_container_fs::Timestamp;

/// The first second that an inode can have, in 1901.
pub(super) const FIRST_SECOND: i64 = i32::MIN as i64;
/// The last second that an inode can have, in 2446.
pub(super) const LAST_SECOND: i64 = i32::MAX as i64 + (3 << 32);

/// A time in the format of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InodeTime {
    /// `i_mtime`: the lower 32 bits of the seconds, signed.
    pub(super) seconds: u32,
    /// `i_mtime_extra`: a multiple of 2^32 seconds in the lowest two bits, and the nanoseconds above them.
    pub(super) extra: u32,
}

impl InodeTime {
    /// Converts a time, clamped to the range of the format.
    pub(super) fn of(time: Timestamp) -> Self {
        let time = match time.seconds {
            ..FIRST_SECOND => Timestamp { seconds: FIRST_SECOND, nanoseconds: 0 },
            FIRST_SECOND..=LAST_SECOND => time,
            _ => Timestamp { seconds: LAST_SECOND, nanoseconds: 0 },
        };
        let low = time.seconds as i32;
        let epoch = (time.seconds - i64::from(low)) >> 32;
        Self { seconds: low as u32, extra: epoch as u32 & 3 | time.nanoseconds << 2 }
    }

    /// Converts a time back, as the kernel does (`ext4_decode_extra_time`). The nanoseconds of a damaged inode are
    /// clamped.
    pub(super) fn decode(self) -> Timestamp {
        let seconds = i64::from(self.seconds as i32) + (i64::from(self.extra & 3) << 32);
        Timestamp { seconds, nanoseconds: (self.extra >> 2).min(999_999_999) }
    }

    /// Returns whether the format can represent the time.
    pub(super) fn can_represent(time: Timestamp) -> bool {
        (FIRST_SECOND..=LAST_SECOND).contains(&time.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_in_range_is_preserved() {
        let turns = [0, 1 << 31, 1 << 32, 3 << 31, 2 << 32, 5 << 31, 3 << 32];
        let near = turns.iter().flat_map(|&turn: &i64| [turn - 1, turn, turn + 1]);
        for seconds in near.chain([FIRST_SECOND, -86_400, LAST_SECOND]) {
            for nanoseconds in [0, 1, 999_999_999] {
                let time = Timestamp { seconds, nanoseconds };
                assert!(InodeTime::can_represent(time));
                assert_eq!(InodeTime::of(time).decode(), time);
            }
        }
    }

    #[test]
    fn other_times_are_clamped() {
        for (seconds, nearest) in [(i64::MIN, FIRST_SECOND), (FIRST_SECOND - 1, FIRST_SECOND), (i64::MAX, LAST_SECOND)]
        {
            let time = Timestamp { seconds, nanoseconds: 5 };
            assert!(!InodeTime::can_represent(time));
            assert_eq!(InodeTime::of(time).decode(), Timestamp { seconds: nearest, nanoseconds: 0 });
        }
    }
}
