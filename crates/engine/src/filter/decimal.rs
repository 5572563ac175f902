//! Numbers as JSON spells them, compared exactly: no number is turned into one of a machine's own, which would make
//! 9007199254740993 equal to its neighbour and 0.1 to something else.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// A number: 0.DIGITS × 10^exponent.
#[derive(Clone, Debug)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    exponent: i64,
    /// From the first digit that is not zero to the last one, with the decimal point if it stands between; zero has none.
    digits: Cow<'a, str>,
}

impl<'a> Decimal<'a> {
    /// Reads a number that is spelled as JSON does. `None` where its exponent goes beyond 64 bits: nothing is as large, or as
    /// small.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let is_digit = |c: char| c.is_ascii_digit() && c != '0';
        let (Some(first), Some(last)) = (mantissa.find(is_digit), mantissa.rfind(is_digit)) else {
            return Some(Self {
                negative: false,
                exponent: 0,
                digits: Cow::Borrowed(""),
            });
        };
        let point = mantissa.find('.').unwrap_or(mantissa.len());
        let place = |at: usize| i64::try_from(at).ok();
        let shift = if first < point {
            place(point - first)?
        } else {
            -place(first - point - 1)?
        };
        Some(Self {
            negative,
            exponent: exponent.parse::<i64>().ok()?.checked_add(shift)?,
            digits: Cow::Borrowed(mantissa.get(first..=last)?),
        })
    }

    /// The same number with text of its own.
    pub(crate) fn into_owned(self) -> Decimal<'static> {
        Decimal {
            digits: Cow::Owned(self.digits.into_owned()),
            ..self
        }
    }

    fn magnitude(&self, other: &Decimal<'_>) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (false, false) => {
                let exponents = self.exponent.cmp(&other.exponent);
                exponents.then_with(|| digits(&self.digits).cmp(digits(&other.digits)))
            }
            (self_zero, other_zero) => other_zero.cmp(&self_zero),
        }
    }
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|byte| *byte != b'.')
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

impl fmt::Display for Decimal<'_> {
    /// In digits where these are few, else with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PLAIN_DIGITS_MAX: i64 = 21;
        let sign = if self.negative { "-" } else { "" };
        let digits: String = self.digits.chars().filter(|c| *c != '.').collect();
        let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        match self.exponent {
            _ if digits.is_empty() => f.write_str("0"),
            exponent if (-6..=0).contains(&exponent) => write!(f, "{sign}0.{}{digits}", zeros(-exponent)),
            exponent if (1..=PLAIN_DIGITS_MAX).contains(&exponent) && exponent >= count => {
                write!(f, "{sign}{digits}{}", zeros(exponent - count))
            }
            exponent if (1..=PLAIN_DIGITS_MAX).contains(&exponent) => {
                let (whole, fraction) = digits.split_at(usize::try_from(exponent).unwrap_or(0));
                write!(f, "{sign}{whole}.{fraction}")
            }
            exponent => write!(f, "{sign}0.{digits}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cmp(one: &str, other: &str) -> Ordering {
        Decimal::parse(one).unwrap().cmp(&Decimal::parse(other).unwrap())
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
        for spellings in [
            &["0", "-0", "0.000", "0e999999999999999999999", "-0.0E-5"][..],
            &["1", "1.0", "10e-1", "0.1e1", "1E+0", "1.00e00", "100e-2"],
            &["-12.5", "-125e-1", "-0.125E2", "-1250.0e-2"],
            &["0.001", "1e-3", "0.1e-2", "10.0e-4"],
            &["9007199254740993", "9007199254740993.0", "900719925474099.3e1"],
        ] {
            for one in spellings {
                for other in spellings {
                    assert_eq!(cmp(one, other), Ordering::Equal, "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn no_digit_is_lost() {
        let ascending = [
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-1.5",
            "-1",
            "-0.1",
            "-1e-400",
            "0",
            "1e-400",
            "0.1",
            "0.10000000000000000000001",
            "0.3",
            "1",
            "1.5",
            "9",
            "10",
            "99.99",
            "100",
            "9007199254740992",
            "9007199254740993",
            "1e400",
            "1.0000000000000000000000000001e400",
            "1e401",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(cmp(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
    }

    #[test]
    fn an_exponent_beyond_64_bits_is_no_number() {
        for text in [
            "1e9223372036854775808",
            "1e-99999999999999999999999",
            "10e9223372036854775807",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        assert!(Decimal::parse("1e0000000000000000000000000000007").is_some());
    }

    #[test]
    fn it_is_shown_as_a_person_would_write_it() {
        for (text, shown) in [
            ("-0", "0"),
            ("12.50", "12.5"),
            ("1e3", "1000"),
            ("-1e-3", "-0.001"),
            ("0.5", "0.5"),
            ("120", "120"),
            ("1e300", "0.1e301"),
            ("-2.5e-30", "-0.25e-29"),
            ("9007199254740993", "9007199254740993"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_compare_as_whole_numbers(one: i64, other: i64, zeros in 0_usize..5) {
            let spelled = format!("{other}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(cmp(&one.to_string(), &spelled), one.cmp(&other));
        }

        #[test]
        fn fractions_compare_as_if_they_were_whole(one in -99_999_i64..99_999, other in -99_999_i64..99_999, places in 0_u32..4) {
            let spell = |n: i64| format!("{n}e-{places}");
            let plain = |n: i64| {
                let scale = 10_i64.pow(places);
                let sign = if n < 0 { "-" } else { "" };
                let width = usize::try_from(places).unwrap();
                let fraction = format!("{:0width$}", n.abs() % scale);
                format!("{sign}{}.{}0", n.abs() / scale, if places == 0 { "" } else { &fraction })
            };
            prop_assert_eq!(cmp(&spell(one), &plain(other)), one.cmp(&other));
        }

        #[test]
        fn what_is_shown_is_the_same_number(digits in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,9})?(e[+-]?[0-9]{1,3})?") {
            let number = Decimal::parse(&digits).unwrap();
            prop_assert_eq!(cmp(&number.to_string(), &digits), Ordering::Equal);
        }
    }
}
