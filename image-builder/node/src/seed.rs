//! The seed on the disk, and what cloud-init remembers of the last one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use gild_boards::mac::Mac;

use crate::document::{FALLBACK, Said, Seed, fallback_instance_id, instance_id};
use crate::files;
use crate::settings::Image;

/// Below a root directory, which is `/` outside of tests.
const SEED: &str = "var/lib/cloud/seed/nocloud";
/// What cloud-init keeps of each instance.
const INSTANCES: &str = "var/lib/cloud/instances";
/// Below an instance: what cloud-init does only once for it. It notes each step before it takes it.
const STEPS: &str = "sem";
/// Below an instance: the seed as cloud-init has read it.
const REMEMBERED: &str = "obj.pkl";
/// Below an instance: cloud-init has finished, and everything that it wrote is on the disk.
const FINISHED: &str = "gild-finished";
/// cloud-init's link to its last instance.
const INSTANCE: &str = "var/lib/cloud/instance";
const META_DATA: &str = "meta-data";
const USER_DATA: &str = "user-data";

/// The seed's place.
pub struct Place {
    root: PathBuf,
}

/// What lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// No seed, half of one, or a fallback name made from an address that this node no longer has.
    None,
    /// Only a name, made for this node.
    Fallback,
    /// The identity of this node, for this image.
    Identity,
    /// A seed for another board or another image, or an operator's own.
    Foreign,
}

/// The seed cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{0} {1}: {2}")]
pub struct SeedError(&'static str, PathBuf, io::Error);

/// The disk is in another board than the one that its node belongs to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this disk has the identity of the board with the address {seed}, and is in the board with {present}; next: put it back into its own board, or \
     make it blank by hand: gild-reprovision. A network adapter that was taken out, or a bond, looks the same"
)]
pub struct OtherBoard {
    seed: Mac,
    present: Mac,
}

impl Place {
    /// Below this root directory.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// What lies there, for a node with these addresses.
    #[must_use]
    pub fn present(&self, macs: &[Mac], image: &Image) -> Present {
        let Some(found) = self.instance_id() else {
            return Present::None;
        };
        let own = found.split_once('-').and_then(|(mac, _)| Mac::parse(mac));
        // A boot that sees no interface cannot contradict the address in the seed.
        let macs = if macs.is_empty() {
            own.as_slice()
        } else {
            macs
        };
        let is_of = |id: &dyn Fn(Mac) -> String| macs.iter().any(|mac| found == id(*mac));
        if is_of(&|mac| instance_id(mac, image)) {
            Present::Identity
        } else if is_of(&|mac| fallback_instance_id(Some(mac)))
            || (macs.is_empty() && found == fallback_instance_id(None))
        {
            Present::Fallback
        } else if found.ends_with(FALLBACK) {
            Present::None
        } else {
            Present::Foreign
        }
    }

    /// Whether there is a seed of any kind.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.instance_id().is_some()
    }

    /// The address with which this node got its identity.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        let id = self.instance_id()?;
        Mac::parse(id.split_once('-')?.0)
    }

    /// Refuses a disk whose identity was made for another board. A node without an identity, one with an operator's own, and one that sees no
    /// interface, is not refused.
    pub fn must_be_of(&self, macs: &[Mac]) -> Result<(), OtherBoard> {
        match (self.mac(), macs.first()) {
            (Some(seed), Some(present)) if !macs.contains(&seed) => Err(OtherBoard {
                seed,
                present: *present,
            }),
            _ => Ok(()),
        }
    }

    fn instance_id(&self) -> Option<String> {
        let directory = self.root.join(SEED);
        fs::metadata(directory.join(USER_DATA)).ok()?;
        let text = fs::read_to_string(directory.join(META_DATA)).ok()?;
        // An operator's own seed may be YAML, which does not parse here. Its instance id does not have our form anyway.
        let meta: Value = serde_json::from_str(&text).unwrap_or_default();
        Some(meta["instance-id"].as_str().unwrap_or_default().to_owned())
    }

    /// What the seed says of this node; nothing if it is not gild's.
    #[must_use]
    pub fn said(&self) -> Option<Said> {
        let directory = self.root.join(SEED);
        let meta_data = fs::read_to_string(directory.join(META_DATA)).ok()?;
        let user_data = fs::read_to_string(directory.join(USER_DATA)).ok()?;
        Said::parse(&meta_data, &user_data)
    }

    /// Changes what the seed says about its instance. The seed exists at every moment: cloud-init needs it at each boot, and a member does
    /// not ask for another one while it boots.
    pub fn update(&self, said: &Said) -> Result<(), SeedError> {
        let directory = self.root.join(SEED);
        let seed = Seed::of(self.instance_id().unwrap_or_default(), said);
        for (name, text) in [(USER_DATA, &seed.user_data), (META_DATA, &seed.meta_data)] {
            let path = directory.join(name);
            files::write_private(&path, text).map_err(|error| SeedError("writing", path, error))?;
        }
        Ok(())
    }

    /// Makes cloud-init read the seed again at the next boot, although its instance is the same.
    pub fn forget_instance(&self) -> Result<(), SeedError> {
        let link = self.root.join(INSTANCE);
        files::remove(&link).map_err(|error| SeedError("removing", link, error))
    }

    /// Whether cloud-init has made the seed's instance the current one.
    #[must_use]
    pub fn is_taken_on(&self) -> bool {
        let instance = self.instance();
        let name = instance.as_ref().and_then(|path| path.file_name());
        name.is_some_and(|name| self.instance_id().is_some_and(|id| name == id.as_str()))
    }

    /// The folder of cloud-init's last instance. The link is absolute, so it cannot be followed below another root.
    fn instance(&self) -> Option<PathBuf> {
        let link = fs::read_link(self.root.join(INSTANCE)).ok()?;
        Some(self.root.join(INSTANCES).join(link.file_name()?))
    }

    /// Runs between cloud-init's local stage and its steps. If nothing says that the steps were finished, cloud-init takes all of them
    /// again. A power cut can leave files of cloud-init empty, because it does not flush them. It can also leave a step half done, because
    /// cloud-init never repeats a step.
    pub fn repeat_unfinished_steps(&self) -> Result<bool, SeedError> {
        let is_unfinished = self.is_taken_on()
            && self.instance().is_some_and(|instance| {
                instance.join(STEPS).exists() && !instance.join(FINISHED).exists()
            });
        if is_unfinished {
            self.repeat_steps()?;
        }
        Ok(is_unfinished)
    }

    /// Makes cloud-init take all its one-time steps again at the next boot.
    pub fn repeat_steps(&self) -> Result<(), SeedError> {
        let Some(instance) = self.instance() else {
            return Ok(());
        };
        let (finished, steps) = (instance.join(FINISHED), instance.join(STEPS));
        // Otherwise cloud-init would use its old copy of the seed.
        let remembered = instance.join(REMEMBERED);
        files::remove(&remembered).map_err(|error| SeedError("removing", remembered, error))?;
        files::remove(&finished).map_err(|error| SeedError("removing", finished, error))?;
        files::remove_directory(&steps).map_err(|error| SeedError("removing", steps, error))
    }

    /// Called when cloud-init has finished: flushes what it wrote to the disk, then notes that.
    pub fn finish(&self) -> Result<(), SeedError> {
        let Some(finished) = self.instance().map(|instance| instance.join(FINISHED)) else {
            return Ok(());
        };
        if finished.exists() {
            return Ok(());
        }
        nix::unistd::sync();
        files::write_private(&finished, "").map_err(|error| SeedError("writing", finished, error))
    }

    /// Replaces the seed. There is no seed without `meta-data`, so a power cut cannot leave a mixture of two.
    pub fn write(&self, seed: &Seed) -> Result<(), SeedError> {
        let directory = self.root.join(SEED);
        let (meta_data, user_data) = (directory.join(META_DATA), directory.join(USER_DATA));
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |error| SeedError(action, path, error)
        };
        files::private_directory(&directory).map_err(failed("making", &directory))?;
        files::remove(&meta_data).map_err(failed("removing", &meta_data))?;
        files::write_private(&user_data, &seed.user_data).map_err(failed("writing", &user_data))?;
        files::write_private(&meta_data, &seed.meta_data).map_err(failed("writing", &meta_data))?;
        self.forget_other_instance(&seed.instance_id)
    }

    /// cloud-init would keep its last instance without looking for a new seed, so its link to another instance goes.
    fn forget_other_instance(&self, instance_id: &str) -> Result<(), SeedError> {
        let link = self.root.join(INSTANCE);
        match fs::read_link(&link) {
            Ok(to) if to.file_name().is_none_or(|name| name != instance_id) => {
                files::remove(&link).map_err(|error| SeedError("removing", link, error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const MAC: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x03]);
    const OTHER: Mac = Mac([0xd8, 0x3a, 0xdd, 0x01, 0x02, 0x04]);

    fn image() -> Image {
        Image {
            board: "rpi5".to_owned(),
            id: "rpi5-0123456789ab".to_owned(),
        }
    }

    #[test]
    fn what_lies_there_is_known() {
        let root = tempfile::tempdir().expect("a directory");
        let place = Place::below(root.path());
        let present = |macs: &[Mac]| place.present(macs, &image());
        assert_eq!(present(&[MAC]), Present::None);
        place.write(&Seed::fallback(Some(MAC))).expect("a seed");
        assert_eq!(present(&[OTHER, MAC]), Present::Fallback);
        assert_eq!(present(&[OTHER]), Present::None);
        assert_eq!(present(&[]), Present::Fallback, "nothing speaks against it");
        let real = Seed {
            meta_data: format!("{{\"instance-id\": \"{}\"}}", instance_id(MAC, &image())),
            ..Seed::fallback(None)
        };
        place.write(&real).expect("a seed");
        assert_eq!(present(&[MAC]), Present::Identity);
        assert!(place.must_be_of(&[OTHER, MAC]).is_ok() && place.must_be_of(&[]).is_ok());
        assert!(place.must_be_of(&[OTHER]).is_err());
        assert_eq!(present(&[OTHER]), Present::Foreign);
        assert_eq!(present(&[]), Present::Identity, "nothing speaks against it");
        let other_image = Image {
            id: "rpi5-ba9876543210".to_owned(),
            ..image()
        };
        assert_eq!(place.present(&[], &other_image), Present::Foreign);
        fs::write(root.path().join(SEED).join(META_DATA), "instance-id: own\n").expect("YAML");
        assert_eq!(present(&[MAC]), Present::Foreign);
        assert_eq!(present(&[]), Present::Foreign);
        assert!(place.must_be_of(&[MAC]).is_ok(), "an operator's own");
        place.write(&Seed::fallback(None)).expect("a seed");
        assert_eq!(present(&[]), Present::Fallback);
        assert_eq!(present(&[MAC]), Present::None);
        fs::remove_file(root.path().join(SEED).join(USER_DATA)).expect("half a seed");
        assert_eq!(present(&[MAC]), Present::None);
    }

    #[test]
    fn only_the_link_to_another_instance_is_removed() {
        let root = tempfile::tempdir().expect("a directory");
        let place = Place::below(root.path());
        let link = root.path().join(INSTANCE);
        let seed = Seed::fallback(Some(MAC));
        place.write(&seed).expect("a seed");
        symlink(
            format!("/var/lib/cloud/instances/{}", seed.instance_id),
            &link,
        )
        .expect("a link");
        place.write(&seed).expect("the same seed");
        assert!(link.is_symlink() && place.is_taken_on());
        place
            .write(&Seed::fallback(Some(OTHER)))
            .expect("another seed");
        assert!(!link.is_symlink() && !place.is_taken_on());
    }

    #[test]
    fn steps_that_came_to_no_end_are_taken_again_and_others_are_not() {
        let root = tempfile::tempdir().expect("a directory");
        let place = Place::below(root.path());
        let seed = Seed::fallback(Some(MAC));
        place.write(&seed).expect("a seed");
        let instance = root.path().join(INSTANCES).join(&seed.instance_id);
        let steps = instance.join(STEPS);
        let repeats = || place.repeat_unfinished_steps().expect("a look");
        place.finish().expect("cloud-init has not been here");
        fs::create_dir_all(&instance).expect("an instance");
        symlink(
            format!("/var/lib/cloud/instances/{}", seed.instance_id),
            root.path().join(INSTANCE),
        )
        .expect("a link");
        assert!(!repeats(), "nothing was begun");
        fs::create_dir(&steps).expect("steps");
        fs::write(steps.join("config_write_files"), "").expect("a step");
        assert!(repeats() && !steps.exists(), "the power failed");
        fs::create_dir(&steps).expect("steps again");
        place.finish().expect("the end");
        assert!(!repeats() && steps.exists(), "they came to their end");
        place.repeat_steps().expect("wanted");
        assert!(!steps.exists());
        fs::create_dir(&steps).expect("steps again");
        assert!(repeats(), "that they ended once counts no more");
        fs::create_dir(&steps).expect("steps again");
        place
            .write(&Seed::fallback(Some(OTHER)))
            .expect("another seed");
        assert!(!repeats() && steps.exists(), "another instance's");
    }

    #[test]
    fn whatever_step_is_the_last_there_is_no_half_of_another_seed() {
        let root = tempfile::tempdir().expect("a directory");
        let place = Place::below(root.path());
        place.write(&Seed::fallback(Some(MAC))).expect("a seed");
        // Simulates a power cut while user-data is being written: a directory stands in its way.
        let in_the_way = root.path().join(SEED).join("user-data.new");
        fs::create_dir(&in_the_way).expect("a directory");
        place
            .write(&Seed::fallback(Some(OTHER)))
            .expect_err("a cut");
        assert_eq!(place.present(&[MAC], &image()), Present::None);
    }
}
