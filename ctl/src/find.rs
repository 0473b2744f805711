//! Where isatapd listens: a socket for each network namespace and name.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ask::is_left_over;
use crate::exit::{Exit, Fatal};

/// Where isatapd keeps its sockets.
const FOLDER: &str = "/run/isatapd";
/// What their names end in.
const KIND: &str = ".control";

/// The socket of `name` in this network namespace; without one, the only socket there, or the only
/// one at which somebody listens.
pub(crate) fn socket(name: Option<&str>) -> Result<PathBuf, Fatal> {
    let namespace = fs::metadata("/proc/self/ns/net")
        .map_err(|error| Fatal::new(Exit::Os, format!("/proc/self/ns/net: {error}")))?;
    socket_in(Path::new(FOLDER), namespace.ino(), name)
}

fn socket_in(folder: &Path, namespace: u64, name: Option<&str>) -> Result<PathBuf, Fatal> {
    let path = |name: &str| folder.join(format!("{namespace}.{name}{KIND}"));
    let mut names = names(folder, namespace)
        .map_err(|error| Fatal::new(Exit::Os, format!("{}: {error}", folder.display())))?;
    if name.is_none() && names.len() > 1 {
        names.retain(|name| !is_left_over(&path(name)));
    }
    let name = match (name, names.as_slice()) {
        (Some(name), _) if names.iter().any(|known| known == name) => name,
        (Some(name), _) => {
            return Err(Fatal::new(Exit::Unavailable, format!("{name}: isatapd does not run")));
        }
        (None, [name]) => name,
        (None, []) => return Err(Fatal::new(Exit::Unavailable, "isatapd does not run")),
        (None, names) => {
            let line = format!("--name: which one of {}?", names.join(" "));
            return Err(Fatal::new(Exit::Usage, line));
        }
    };
    Ok(path(name))
}

/// The names of all sockets of `namespace`, in order.
fn names(folder: &Path, namespace: u64) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let name = file.to_str().and_then(|file| {
            file.strip_prefix(&format!("{namespace}."))?.strip_suffix(KIND).map(str::to_owned)
        });
        names.extend(name);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_one_or_the_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let find = |name| socket_in(folder.path(), 42, name).map_err(|f| (f.exit, f.line));
        let none = (Exit::Unavailable, "isatapd does not run".to_owned());
        assert_eq!(socket_in(&folder.path().join("none"), 42, None).unwrap_err().line, none.1);
        for file in
            ["43.is0.control", "42.is0.lock", "4.is0.control", "42.control", "421.x.control"]
        {
            fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(find(None), Err(none));
        let not_here = (Exit::Unavailable, "is0: isatapd does not run".to_owned());
        assert_eq!(find(Some("is0")), Err(not_here));
        let path = folder.path().join("42.is0.control");
        fs::write(&path, "").unwrap();
        assert_eq!(find(None), Ok(path.clone()));
        // With another one, somebody is to listen there.
        let other = folder.path().join("42.is.1.control");
        let that = UnixListener::bind(&other).unwrap();
        assert_eq!(find(None), Ok(other));
        fs::remove_file(&path).unwrap();
        let this = UnixListener::bind(&path).unwrap();
        let which = (Exit::Usage, "--name: which one of is.1 is0?".to_owned());
        assert_eq!(find(None), Err(which));
        assert_eq!(find(Some("is0")), Ok(path));
        assert!(find(Some("../x")).is_err() && find(Some("")).is_err());
        drop((this, that));
        assert_eq!(find(None), Err((Exit::Unavailable, "isatapd does not run".to_owned())));
    }
}
