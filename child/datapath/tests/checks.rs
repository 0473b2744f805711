//! The checks of the fuzz targets, on stable: over the committed seeds, over what is near them, and
//! over arbitrary octets.

#[cfg(test)]
mod common;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::common::checks;

    type Check = fn(&[u8]);
    type Target = (&'static str, Check);

    const TARGETS: [Target; 3] = [
        ("inbound", checks::inbound::check),
        ("outbound", checks::outbound::check),
        ("failed", checks::failed::check),
    ];

    /// All seeds, each with the check of its target.
    fn seeds() -> Vec<(Check, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds");
        let mut all = Vec::new();
        for (target, check) in TARGETS {
            let files: Vec<_> = std::fs::read_dir(folder.join(target)).unwrap().collect();
            assert!(!files.is_empty(), "no seeds for {target}");
            for file in files {
                all.push((check, std::fs::read(file.unwrap().path()).unwrap()));
            }
        }
        all
    }

    #[test]
    fn seeds_and_every_prefix_of_them() {
        for (check, seed) in seeds() {
            (0..=seed.len()).for_each(|end| check(&seed[..end]));
        }
    }

    #[test]
    fn seeds_with_any_one_octet_changed() {
        for (check, seed) in seeds() {
            // Beyond the headers nothing is read.
            for at in 0..seed.len().min(140) {
                let mut seed = seed.clone();
                for bit in 0..8 {
                    seed[at] ^= 1 << bit;
                    check(&seed);
                    seed[at] ^= 1 << bit;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_octets(octets in vec(any::<u8>(), 0..200)) {
            for (_, check) in TARGETS {
                check(&octets);
            }
        }

        /// A seed with a few octets changed, and pieces put in or left out.
        #[test]
        fn near_a_seed(
            seed in select(seeds()),
            changes in vec((any::<Index>(), any::<u8>()), 0..6),
            piece in vec(any::<u8>(), 0..20),
            cut in any::<(Index, Index)>(),
        ) {
            let (check, mut octets) = seed;
            for (at, value) in changes {
                let at = at.index(octets.len());
                octets[at] = value;
            }
            check(&octets);
            let (from, to) = (cut.0.index(octets.len()), cut.1.index(octets.len()));
            octets.splice(from.min(to)..from.max(to), piece);
            check(&octets);
        }
    }
}
