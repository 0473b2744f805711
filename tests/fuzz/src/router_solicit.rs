//! Router Solicitations as they come out of the tunnel, against a second reading of RFC 8200 section
//! 3 and RFC 4861 section 6.1.1.

use isatapd_engine::wire::icmp6::{self, Broken};
use isatapd_engine::wire::router_advert::Malformed as Options;
use isatapd_engine::wire::router_solicit::{self, Malformed};

/// A packet is opened and its message checked as the RFCs say, and a good one can be sealed again.
pub fn check(data: &[u8]) {
    let opened = icmp6::open(data);
    let expected = packet(data);
    assert_eq!(opened.map(|opened| opened.message), expected);
    let Ok(opened) = opened else { return };
    assert_eq!(opened.source.octets(), data[8..24]);
    assert_eq!(opened.destination.octets(), data[24..40]);
    assert_eq!(opened.hop_limit, data[7]);
    assert_eq!(router_solicit::check(opened.message), message(opened.message));

    let sealed = icmp6::packet(opened.source, opened.destination, opened.message);
    assert_eq!(sealed[40..42], opened.message[..2]);
    assert_eq!(sealed[44..], opened.message[4..]);
    assert!(icmp6::open(&sealed).is_ok());
}

fn packet(data: &[u8]) -> Result<&[u8], Broken> {
    if data.len() < 40 {
        return Err(Broken::TooShort);
    } else if data[0] / 16 != 6 {
        return Err(Broken::Version);
    } else if data[6] != 58 {
        return Err(Broken::NextHeader);
    }
    let end = 40 + usize::from(data[4]) * 256 + usize::from(data[5]);
    if end < 44 || end > data.len() {
        return Err(Broken::TooShort);
    }
    let length = u32::try_from(end - 40).expect("16 bits").to_be_bytes();
    let summed = [&length, &[0, 0, 0, 58], &data[8..end]].concat();
    let mut sum: u64 = summed
        .chunks(2)
        .map(|word| u64::from(word[0]) * 256 + u64::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = sum % 0x1_0000 + sum / 0x1_0000;
    }
    if sum != 0xffff {
        return Err(Broken::Checksum);
    }
    Ok(&data[40..end])
}

fn message(message: &[u8]) -> Result<(), Malformed> {
    if message[0] != 133 {
        return Err(Malformed::NotASolicitation);
    } else if message[1] != 0 {
        return Err(Malformed::Code);
    } else if message.len() < 8 {
        return Err(Malformed::TooShort);
    }
    let (mut at, mut options) = (8, 0);
    while at < message.len() {
        let left = message.len() - at;
        if options == 256 {
            return Err(Malformed::Options(Options::TooManyOptions));
        } else if left == 1 || usize::from(message[at + 1]) * 8 > left {
            return Err(Malformed::Options(Options::OptionTruncated));
        } else if message[at + 1] == 0 {
            return Err(Malformed::Options(Options::OptionLength));
        }
        at += usize::from(message[at + 1]) * 8;
        options += 1;
    }
    Ok(())
}
