//! Space and inodes of the local file systems: `/proc/mounts` and `statvfs`.

use std::collections::HashMap;

use crate::{
    collector::{CollectError, Collector},
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
};

pub(super) struct Filesystems;

const TOTAL: Meaning = Meaning::gauge("bytes", "Size of the file system.");
const USED: Meaning = Meaning::gauge("bytes", "Space in use.");
const FREE: Meaning = Meaning::gauge("bytes", "Space that users other than root can still fill.");
const PERCENT_FREE: Meaning =
    Meaning::gauge("percent", "Share of the space that users other than root can still fill.");
const INODES_TOTAL: Meaning = Meaning::gauge("inodes", "Inodes of the file system.");
const INODES_USED: Meaning = Meaning::gauge("inodes", "Inodes in use.");
const INODES_FREE: Meaning = Meaning::gauge("inodes", "Inodes that can still be used.");

/// Most file systems of which space is reported.
const FILESYSTEMS_MAX: usize = 512;

impl Collector for Filesystems {
    fn name(&self) -> &'static str {
        "filesystems"
    }

    fn every(&self) -> u32 {
        3
    }

    fn collect(&mut self, files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        let kinds = files.read_optional("proc/filesystems")?.unwrap_or_default();
        let mounts = files.read("proc/mounts")?;
        for mount in local_mounts(&mounts, &kinds).into_iter().take(FILESYSTEMS_MAX) {
            // A mount that ended meanwhile, or one that this user must not look at, is no failure of the others.
            if let Ok(size) = rustix::fs::statvfs(mount.folder.as_str()) {
                emit(&mount.folder, Size::of(&size), out);
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    folder: String,
}

/// The mounts that hold files on this machine, one per device, at its shortest folder, in the order of the file.
///
/// Kinds that `/proc/filesystems` marks `nodev` are made up by the kernel or live on another machine, which might
/// not answer; but ZFS is marked so too, and the root of a container is an overlay.
fn local_mounts(mounts: &str, kinds: &str) -> Vec<Mount> {
    let made_up: Vec<&str> = kinds.lines().filter_map(|line| line.strip_prefix("nodev")).map(str::trim).collect();
    let mut found: Vec<Mount> = Vec::new();
    let mut position_of: HashMap<String, usize> = HashMap::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(folder), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        let folder = unescape(folder);
        let counts = !made_up.contains(&kind) || kind == "zfs" || (kind == "overlay" && folder == "/");
        if !counts || !folder.starts_with('/') || kind.is_empty() {
            continue;
        }
        let device = unescape(device);
        match position_of.get(&device).and_then(|&position| found.get_mut(position)) {
            Some(known) if folder.len() < known.folder.len() => known.folder = folder,
            Some(_) => {}
            None => {
                position_of.insert(device.clone(), found.len());
                found.push(Mount { device, folder });
            }
        }
    }
    found
}

/// The kernel writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) if code.is_ascii() => {
                plain.push(char::from(code));
                plain.push_str(rest);
            }
            _ => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// What `statvfs` says, in bytes and inodes.
#[derive(Clone, Copy, Debug)]
struct Size {
    total: u64,
    used: u64,
    free: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Size {
    fn of(size: &rustix::fs::StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(size.f_frsize);
        Self {
            total: bytes(size.f_blocks),
            used: bytes(size.f_blocks.saturating_sub(size.f_bfree)),
            free: bytes(size.f_bavail),
            inodes: size.f_files,
            inodes_free: size.f_ffree,
        }
    }
}

fn emit(folder: &str, size: Size, out: &mut Gathering<'_>) {
    let space = [("space_total", size.total, TOTAL), ("space_used", size.used, USED), ("space_free", size.free, FREE)];
    for (name, bytes, meaning) in space {
        out.add(&format!("linux.disk.fs.{name}"), &[("mount", folder)], whole(bytes), meaning);
        out.add(&format!("os.disk.fs.{name}"), &[("disk", folder)], whole(bytes), meaning);
    }
    if size.total > 0 {
        let percent = size.free as f64 / size.total as f64 * 100.0;
        out.add("os.disk.fs.percent_free", &[("disk", folder)], percent, PERCENT_FREE);
    }
    if size.inodes > 0 {
        let used = size.inodes.saturating_sub(size.inodes_free);
        out.add("linux.disk.fs.inodes_total", &[("mount", folder)], whole(size.inodes), INODES_TOTAL);
        out.add("linux.disk.fs.inodes_used", &[("mount", folder)], whole(used), INODES_USED);
        out.add("linux.disk.fs.inodes_free", &[("mount", folder)], whole(size.inodes_free), INODES_FREE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::fixture::{Fixture, number};

    const KINDS: &str = "nodev\tsysfs\nnodev\ttmpfs\nnodev\toverlay\nnodev\tnfs4\nnodev\tzfs\n\text4\n\txfs\n";

    fn folders(mounts: &str) -> Vec<String> {
        local_mounts(mounts, KINDS).into_iter().map(|mount| mount.folder).collect()
    }

    #[test]
    fn only_file_systems_of_this_machine_count_each_once() {
        let mounts = "sysfs /sys sysfs rw 0 0\n/dev/vda /var/lib/x ext4 rw 0 0\n/dev/vda / ext4 rw 0 0\n\
            tmpfs /dev/shm tmpfs rw 0 0\nnas:/home /home nfs4 rw 0 0\n/dev/sdb1 /mnt/my\\040disk xfs rw 0 0\n\
            pool/data /data zfs rw 0 0\noverlay /var/lib/docker/1/merged overlay rw 0 0\n";
        assert_eq!(folders(mounts), ["/", "/mnt/my disk", "/data"]);
    }

    #[test]
    fn the_root_of_a_container_counts() {
        assert_eq!(folders("overlay / overlay rw 0 0\n/dev/vda /etc/hosts ext4 rw 0 0\n"), ["/", "/etc/hosts"]);
    }

    #[test]
    fn space_is_there_under_both_names() {
        let size = Size { total: 1000, used: 600, free: 350, inodes: 10, inodes_free: 4 };
        let gathered = Fixture::default().gather(|out| emit("/mnt/my disk", size, out));
        assert_eq!(number(&gathered, "os.disk.fs.space_used{disk=/mnt/my_disk,host=h}"), Some(600.0));
        assert_eq!(number(&gathered, "linux.disk.fs.space_free{host=h,mount=/mnt/my_disk}"), Some(350.0));
        assert_eq!(number(&gathered, "os.disk.fs.percent_free{disk=/mnt/my_disk,host=h}"), Some(35.0));
        assert_eq!(number(&gathered, "linux.disk.fs.inodes_used{host=h,mount=/mnt/my_disk}"), Some(6.0));
    }

    #[test]
    fn escapes_of_the_kernel_are_undone_and_others_kept() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescape("/a\\9xyz\\0"), "/a\\9xyz\\0");
        assert_eq!(unescape("/a\\777é"), "/a\\777é");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_panic(mounts in "([a-z/\\\\0-9é]{0,6} /[a-z\\\\0-9é]{0,9} [a-z0-9]{0,5}.{0,5}\n){0,4}") {
            let found = local_mounts(&mounts, KINDS);
            prop_assert!(found.iter().all(|mount| mount.folder.starts_with('/')));
        }
    }
}
