//! Images that are given labels, one after the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use counterweight_core::dataset::Dataset;
use counterweight_core::pipeline::{Labelled, Suggestion, Suggestions};
use counterweight_core::source::{ImageReader, Split};

use super::next_revision;

/// Classes that have a key of their own.
const KEYS: usize = 10;
/// Longer than this somebody did something else between two labels.
const PAUSE: f64 = 30.0;

/// What a person said of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is of this class.
    Class(String),
    /// It is not clear.
    Skipped,
}

/// Images that are worth a label, and the labels.
pub struct Labelling {
    /// The folder of the run that they are for.
    pub run: PathBuf,
    /// The images, the one to label first first.
    pub images: Vec<Suggestion>,
    /// Images that were looked at.
    pub looked_at: usize,
    /// Images that the run's dataset has already, or others are the same as.
    pub known: usize,
    /// What was said of each image, if something was.
    pub given: Vec<Option<Given>>,
    /// The image that is shown; the number of images once all were.
    pub at: usize,
    /// The classes that have a key, in the order of their keys.
    pub keys: Vec<String>,
    /// Every class, those of the run first.
    pub classes: Vec<String>,
    /// Training images of each.
    pub counts: Vec<usize>,
    /// All labels, those of earlier times too.
    pub labels: Labelled,
    /// Reads the images.
    pub reader: Arc<ImageReader>,
    /// Another one for every list.
    pub revision: u64,
    /// The images of which something was said, the last one last.
    done: Vec<usize>,
    /// When the last one was labelled, and the seconds that labelling has taken until then.
    clock: (Option<Instant>, f64),
}

impl Labelling {
    /// Labelling of what was found for a run.
    pub fn new(
        run: PathBuf,
        found: Suggestions,
        dataset: &Dataset,
        labels: Labelled,
        reader: Arc<ImageReader>,
    ) -> Self {
        let mut classes = dataset.classes.clone();
        let mut counts = dataset.counts(Split::Train);
        for (_, label) in labels.all() {
            if !classes.contains(label) {
                classes.push(label.clone());
                counts.push(0);
            }
        }
        let keys = keys(&classes, &found.suggestions);
        Self {
            run,
            looked_at: found.images,
            known: found.known,
            given: vec![None; found.suggestions.len()],
            images: found.suggestions,
            at: 0,
            keys,
            classes,
            counts,
            labels,
            reader,
            revision: next_revision(),
            done: Vec::new(),
            clock: (None, 0.0),
        }
    }

    /// Takes the labels that were given while these images were looked for.
    pub fn take_labels(&mut self, labels: Labelled) {
        for (image, given) in self.images.iter().zip(&mut self.given) {
            *given = labels.get(&image.path).map(|class| Given::Class(class.to_string()));
        }
        for (_, class) in labels.all() {
            know(&mut self.classes, &mut self.counts, &mut self.keys, class);
        }
        self.at = self.given.iter().position(Option::is_none).unwrap_or(self.images.len());
        self.labels = labels;
    }

    /// The image that is shown, until all were.
    pub fn current(&self) -> Option<&Suggestion> {
        self.images.get(self.at)
    }

    /// Shows an image.
    pub fn show(&mut self, place: usize) {
        self.at = place.min(self.images.len());
    }

    /// Says something of the image that is shown, and goes on to the next of which nothing was said.
    pub fn give(&mut self, given: Given) {
        let Some(image) = self.images.get(self.at) else { return };
        match &given {
            Given::Class(class) => {
                self.labels.set(&image.path, class);
                know(&mut self.classes, &mut self.counts, &mut self.keys, class);
            }
            Given::Skipped => self.labels.take_back(&image.path),
        }
        self.given[self.at] = Some(given);
        self.done.retain(|done| *done != self.at);
        self.done.push(self.at);
        let now = Instant::now();
        if let Some(last) = self.clock.0 {
            self.clock.1 += now.duration_since(last).as_secs_f64().min(PAUSE);
        }
        self.clock.0 = Some(now);
        let open = |place: &usize| self.given[*place].is_none();
        let later = (self.at + 1..self.images.len()).find(open);
        self.at = later.or_else(|| (0..self.at).find(open)).unwrap_or(self.images.len());
    }

    /// Gives the image that is shown the class that is proposed.
    pub fn accept(&mut self) {
        if let Some(image) = self.current() {
            let class = image.class.clone();
            self.give(Given::Class(class));
        }
    }

    /// Takes back what was said last, and shows that image.
    pub fn take_back(&mut self) {
        if let Some(last) = self.done.pop() {
            self.labels.take_back(&self.images[last].path);
            self.given[last] = None;
            self.at = last;
        }
    }

    /// Whether there is something to take back.
    pub fn can_take_back(&self) -> bool {
        !self.done.is_empty()
    }

    /// Images of this list that were labelled, and those that were skipped.
    pub fn progress(&self) -> [usize; 2] {
        let count =
            |is: fn(&Given) -> bool| self.given.iter().flatten().filter(|given| is(given)).count();
        [count(|given| matches!(given, Given::Class(_))), count(|given| *given == Given::Skipped)]
    }

    /// Images a minute, once it can be told.
    pub fn pace(&self) -> Option<f64> {
        (self.done.len() > 4 && self.clock.1 > 0.0)
            .then(|| 60.0 * (self.done.len() - 1) as f64 / self.clock.1)
    }
}

/// A class that may be new: it is one like the others from now on, and gets a key while there are
/// some left.
fn know(classes: &mut Vec<String>, counts: &mut Vec<usize>, keys: &mut Vec<String>, class: &str) {
    if !classes.iter().any(|known| known == class) {
        classes.push(class.to_string());
        counts.push(0);
        if keys.len() < KEYS {
            keys.push(class.to_string());
        }
    }
}

/// The classes that get a key: all, or those that most of the images are proposed for.
fn keys(classes: &[String], images: &[Suggestion]) -> Vec<String> {
    if classes.len() <= KEYS {
        return classes.to_vec();
    }
    let proposed = |class: &String| {
        let firsts = images.iter().filter(|image| image.class == *class).count();
        let seconds = images.iter().filter(|image| image.second == *class).count();
        2 * firsts + seconds
    };
    let mut order: Vec<(usize, &String)> =
        classes.iter().map(|class| (proposed(class), class)).collect();
    order.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    order.into_iter().take(KEYS).map(|(_, class)| class.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, class: &str, second: &str) -> Suggestion {
        Suggestion {
            path: name.into(),
            class: class.into(),
            probability: 0.5,
            second: second.into(),
            second_probability: 0.3,
            train_count: 4,
        }
    }

    fn labelling(folder: &std::path::Path) -> Labelling {
        let images =
            vec![image("a", "lynx", "deer"), image("b", "deer", "lynx"), image("c", "lynx", "fox")];
        let control = counterweight_core::job::Control::new();
        let job = counterweight_core::job::Job::new(&control, &counterweight_core::job::Silent);
        let classes: Vec<String> = ["deer", "lynx"].map(String::from).into();
        Labelling {
            run: folder.into(),
            looked_at: 3,
            known: 0,
            given: vec![None; 3],
            keys: keys(&classes, &images),
            images,
            at: 0,
            counts: vec![40, 4],
            classes,
            labels: Labelled::open(folder).unwrap(),
            reader: Arc::new(
                ImageReader::open(folder, counterweight_core::source::SourceKind::Folder, job)
                    .unwrap(),
            ),
            revision: 1,
            done: Vec::new(),
            clock: (None, 0.0),
        }
    }

    #[test]
    fn labels_are_given_skipped_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut labelling = labelling(folder.path());
        labelling.accept();
        labelling.give(Given::Skipped);
        labelling.give(Given::Class("fox".into()));
        assert_eq!(labelling.progress(), [2, 1]);
        assert_eq!((labelling.at, labelling.current()), (3, None));
        assert_eq!(labelling.keys, ["deer", "lynx", "fox"]);
        assert_eq!(labelling.labels.get("c".as_ref()), Some("fox"));
        labelling.take_back();
        assert_eq!((labelling.at, labelling.labels.len()), (2, 1));
        // Another look at the first: it is of another class, and then the third is left.
        labelling.show(0);
        labelling.give(Given::Class("deer".into()));
        assert_eq!((labelling.at, labelling.labels.get("a".as_ref())), (2, Some("deer")));
        labelling.take_back();
        labelling.take_back();
        assert_eq!((labelling.labels.len(), labelling.can_take_back()), (0, false));
        assert_eq!((labelling.at, labelling.pace()), (1, None));
        // Labels that were given meanwhile are of the list, too.
        let mut labels = labelling.labels.clone();
        labels.set("a".as_ref(), "deer");
        labels.set("elsewhere".as_ref(), "lynx");
        labelling.take_labels(labels);
        assert_eq!((labelling.at, labelling.progress()), (1, [1, 0]));
        assert_eq!(labelling.labels.len(), 2);
    }

    #[test]
    fn of_many_classes_those_have_a_key_that_are_proposed_most() {
        let classes: Vec<String> = (0..30).map(|class| format!("class {class}")).collect();
        let images = [
            image("a", "class 7", "class 29"),
            image("b", "class 29", "class 3"),
            image("c", "class 29", "class 7"),
        ];
        let keys = keys(&classes, &images);
        assert_eq!(keys.len(), KEYS);
        assert_eq!(keys[..3], ["class 29", "class 7", "class 3"]);
    }
}
