//! What is tried: the grid of settings, and a setting as code.

use std::fmt;
use std::time::Duration;

use bytebufferpool::{Builder, DefaultSize, Growth, Pool};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) threshold: u64,
    pub(crate) max_percentile: f64,
    pub(crate) policy: DefaultSize,
    pub(crate) growth: Growth,
    /// Default size and max size to begin with: what an earlier replay learned.
    pub(crate) initial: Option<(usize, usize)>,
}

// Plainest first: of settings that do equally well the first is chosen.
const THRESHOLDS: [u64; 3] = [42_000, 8_000, 1_000];
const MAX_PERCENTILES: [f64; 4] = [0.95, 0.99, 0.9, 1.0];
pub(crate) const POLICIES: [DefaultSize; 6] = [
    DefaultSize::Mode,
    DefaultSize::Percentile(0.5),
    DefaultSize::Percentile(0.75),
    DefaultSize::Percentile(0.9),
    DefaultSize::Percentile(0.95),
    DefaultSize::Percentile(0.99),
];
const GROWTHS: [Growth; 2] = [Growth::NextClass, Growth::MaxSize];

pub(crate) fn grid() -> Vec<Setting> {
    let mut settings = Vec::new();
    for growth in GROWTHS {
        for policy in POLICIES {
            for max_percentile in MAX_PERCENTILES {
                for threshold in THRESHOLDS {
                    settings.push(Setting { threshold, max_percentile, policy, growth, initial: None });
                }
            }
        }
    }
    settings
}

impl Setting {
    pub(crate) fn builder(&self) -> Builder {
        let builder = Pool::builder()
            .calibrate_calls_threshold(self.threshold)
            .max_percentile(self.max_percentile)
            .default_policy(self.policy)
            .growth(self.growth);
        match self.initial {
            Some((default, max)) => builder.default_size(default).max_size(max),
            None => builder,
        }
    }

    /// Ready to paste. A macro in the tests holds it to what compiles.
    pub(crate) fn code(&self) -> String {
        let mut code = format!(
            "use bytebufferpool::{{DefaultSize, Growth, Pool}};\n\n\
             static POOL: Pool = Pool::builder()\n    \
                 .calibrate_calls_threshold({})\n    \
                 .max_percentile({:?})\n    \
                 .default_policy(DefaultSize::{:?})\n    \
                 .growth(Growth::{:?})\n",
            separated(self.threshold),
            self.max_percentile,
            self.policy,
            self.growth,
        );
        if let Some((default, max)) = self.initial {
            let [default, max] = [default, max].map(|size| separated(size as u64));
            code += &format!("    .default_size({default})\n    .max_size({max})\n");
        }
        code + "    .build();\n"
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let growth = if self.growth == Growth::MaxSize { "to max size" } else { "next class" };
        write!(
            f,
            "{}, {growth}, max size {}, every {}",
            policy_name(self.policy),
            percent(self.max_percentile),
            separated(self.threshold)
        )
    }
}

pub(crate) fn policy_name(policy: DefaultSize) -> String {
    match policy {
        DefaultSize::Percentile(share) => percent(share),
        _ => "mode".to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{} %", (share * 1000.0).round() / 10.0)
}

/// With `_` between groups of three digits, from five digits on, as in Rust.
fn separated(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// Longer than any replay: trim intervals pass when the replay says so, and not by the clock, so that the same trace
/// gives the same figures every time.
pub(crate) const NO_TRIM: Duration = Duration::from_secs(1 << 30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_compiles_and_is_the_setting_that_was_measured() {
        let setting = Setting {
            threshold: 42_000,
            max_percentile: 1.0,
            policy: DefaultSize::Percentile(0.95),
            growth: Growth::MaxSize,
            initial: Some((1024, 65_536)),
        };
        macro_rules! check {
            ($($code:tt)*) => {{
                let words = |code: &str| code.split_whitespace().collect::<String>();
                assert_eq!(words(&setting.code()), words(stringify!($($code)*)));
                $($code)*
                assert_eq!((POOL.default_size(), POOL.max_size()), (1024, 65_536));
                assert_eq!(format!("{:?}", setting.builder().build()), format!("{:?}", POOL));
            }};
        }
        check! {
            use bytebufferpool::{DefaultSize, Growth, Pool};

            static POOL: Pool = Pool::builder()
                .calibrate_calls_threshold(42_000)
                .max_percentile(1.0)
                .default_policy(DefaultSize::Percentile(0.95))
                .growth(Growth::MaxSize)
                .default_size(1024)
                .max_size(65_536)
                .build();
        }
    }

    #[test]
    fn every_setting_of_the_grid_is_there_once_and_can_be_built() {
        let settings = grid();
        assert_eq!(settings.len(), 144);
        for (index, setting) in settings.iter().enumerate() {
            assert!(setting.builder().try_build().is_ok(), "{setting}");
            assert!(!settings[..index].contains(setting), "{setting}");
        }
    }
}
