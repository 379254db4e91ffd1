//! Removing a tree.

use super::cursor::Cursor;
use super::dir::Dir;
use super::entries::Names;
use super::stat::FileKind;
use std::ffi::{OsStr, OsString};
use std::io;

/// How often a directory that somebody fills meanwhile is emptied again.
const REFILL_TRIES: usize = 8;

struct Level {
    name: OsString,
    names: Names,
    next: usize,
    passes: usize,
}

/// Removes `name` and everything below it; nothing to do if it is absent.
///
/// Iterative, so that neither depth nor width matters; goes through no link and into no other
/// mount. Directories of ours that lack permissions are given them first. `on_step` is told how
/// many names are gone, and its error stops the removal.
///
/// # Errors
/// What the kernel says (EXDEV for a mount point below, EPERM for an immutable file) or `on_step`.
pub(crate) fn remove_tree(
    dir: &Dir,
    name: &OsStr,
    on_step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut removed = 0_u64;
    let mut step = |cursor_dir: &Dir, name: &OsStr, is_dir: bool| -> io::Result<()> {
        remove_name(cursor_dir, name, is_dir)?;
        removed += 1;
        on_step(removed)
    };
    match dir.stat_at(name)? {
        None => return Ok(()),
        Some(stat) if stat.kind != FileKind::Directory => return step(dir, name, false),
        Some(_) => {}
    }
    let mut cursor = Cursor::new(dir)?;
    let mut levels = vec![enter(&mut cursor, name)?];
    while let Some(level) = levels.last_mut() {
        if let Some((name, kind)) = level.names.get(level.next) {
            level.next += 1;
            if is_directory(cursor.dir(), name, kind)? {
                let below = enter(&mut cursor, name)?;
                levels.push(below);
            } else {
                step(cursor.dir(), name, false)?;
            }
            continue;
        }
        // Closed before it is removed: the kernel would keep what is open, and look through all of
        // it again at each level above.
        drop(cursor.leave()?);
        match step(cursor.dir(), &level.name, true) {
            Err(error)
                if error.kind() == io::ErrorKind::DirectoryNotEmpty
                    && level.passes < REFILL_TRIES =>
            {
                cursor.enter(&level.name)?;
                level.names = cursor.dir().entries()?;
                level.next = 0;
                level.passes += 1;
            }
            other => {
                other?;
                levels.pop();
            }
        }
    }
    Ok(())
}

fn is_directory(dir: &Dir, name: &OsStr, kind: Option<FileKind>) -> io::Result<bool> {
    let kind = match kind {
        Some(kind) => Some(kind),
        None => dir.stat_at(name)?.map(|stat| stat.kind),
    };
    Ok(kind == Some(FileKind::Directory))
}

/// Goes into `name` and lists it; gives us the permissions for that where they are missing.
fn enter(cursor: &mut Cursor, name: &OsStr) -> io::Result<Level> {
    if let Err(error) = cursor.enter(name) {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        cursor.dir().set_mode_at(name, 0o700)?;
        cursor.enter(name)?;
    }
    let names = cursor.dir().entries().or_else(|error| {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        cursor.dir().set_mode(0o700)?;
        cursor.dir().entries()
    })?;
    Ok(Level {
        name: name.to_owned(),
        names,
        next: 0,
        passes: 0,
    })
}

fn remove_name(dir: &Dir, name: &OsStr, is_dir: bool) -> io::Result<()> {
    let remove = || {
        if is_dir {
            dir.remove_dir(name)
        } else {
            dir.remove_file(name)
        }
    };
    match remove() {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::ACCESS.raw_os_error()) => {
            dir.set_mode(0o700)?;
            remove()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::open::tests::with_and_without_openat2;
    use super::super::testing::{
        Scratch, become_nobody, in_a_child, is_child, limit_descriptors, make_deep, make_wide,
    };
    use super::*;

    fn remove(scratch: &Scratch, name: &str) -> io::Result<u64> {
        let mut removed = 0;
        remove_tree(scratch.dir(), OsStr::new(name), &mut |count| {
            removed = count;
            Ok(())
        })?;
        Ok(removed)
    }

    #[test]
    fn depth_does_not_matter() {
        let scratch = Scratch::quick();
        make_deep(&scratch.sub("top"), 20_000);
        assert_eq!(remove(&scratch, "top").unwrap(), 20_001);
        assert!(scratch.dir().entries().unwrap().is_empty());
    }

    #[test]
    fn width_does_not_matter() {
        let scratch = Scratch::quick();
        make_wide(&scratch.sub("top"), 20_000);
        assert_eq!(remove(&scratch, "top").unwrap(), 20_001);
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let scratch = Scratch::new();
        scratch.put("keep/f", b"x");
        with_and_without_openat2(|| {
            let top = scratch.sub("top");
            top.make_symlink(OsStr::new("../keep"), OsStr::new("link"))
                .unwrap();
            rustix::fs::mkfifoat(&top, "pipe", rustix::fs::Mode::RUSR).unwrap();
            top.make_symlink(OsStr::new("link"), OsStr::new("\n\u{1b}"))
                .unwrap();
            assert_eq!(remove(&scratch, "top").unwrap(), 4);
            assert!(scratch.path().join("keep/f").exists());
        });
        assert_eq!(remove(&scratch, "absent").unwrap(), 0);
        scratch
            .dir()
            .make_symlink(OsStr::new("keep"), OsStr::new("l"))
            .unwrap();
        assert_eq!(remove(&scratch, "l").unwrap(), 1);
        assert!(scratch.path().join("keep/f").exists());
    }

    #[test]
    fn it_stops_when_told_to() {
        let scratch = Scratch::new();
        make_wide(&scratch.sub("top"), 10);
        let stopped = remove_tree(scratch.dir(), OsStr::new("top"), &mut |count| {
            if count == 3 {
                return Err(io::Error::other("stop"));
            }
            Ok(())
        });
        assert_eq!(stopped.unwrap_err().to_string(), "stop");
        assert_eq!(scratch.path().join("top").read_dir().unwrap().count(), 7);
    }

    #[test]
    fn directories_without_permissions_are_removed_too() {
        let name = "fs::remove::tests::directories_without_permissions_are_removed_too";
        if !is_child(name) {
            return in_a_child(name);
        }
        let scratch = Scratch::new();
        scratch.put("top/closed/deeper/f", b"");
        scratch.put("top/unwritable/f", b"");
        if rustix::process::geteuid().is_root() {
            // The rest would hold for root whatever the modes are.
            let all = [
                "",
                "top",
                "top/closed",
                "top/closed/deeper",
                "top/unwritable",
            ];
            for path in all {
                std::os::unix::fs::chown(scratch.path().join(path), Some(65534), None).unwrap();
            }
            become_nobody();
        }
        let dir = |path: &str| scratch.dir().beneath(path.as_ref()).unwrap();
        dir("top/closed")
            .set_mode_at(OsStr::new("deeper"), 0)
            .unwrap();
        dir("top").set_mode_at(OsStr::new("closed"), 0o400).unwrap();
        dir("top")
            .set_mode_at(OsStr::new("unwritable"), 0o500)
            .unwrap();
        assert_eq!(remove(&scratch, "top").unwrap(), 6);
    }

    #[test]
    fn sixty_four_descriptors_are_enough() {
        let name = "fs::remove::tests::sixty_four_descriptors_are_enough";
        if !is_child(name) {
            return in_a_child(name);
        }
        limit_descriptors(64);
        let scratch = Scratch::new();
        make_deep(&scratch.sub("top"), 500);
        assert_eq!(remove(&scratch, "top").unwrap(), 501);
    }
}
