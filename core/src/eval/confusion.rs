//! Which classes samples are taken for: a confusion matrix without its zeros.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Result, TrainError};

/// A predicted class and how many samples of a true class were taken for it, at least one.
pub type ConfusionCell = (u32, u32);

/// Numbers of samples by true and by predicted class. Only what is not zero is held, so it takes
/// room for each sample at most and never for classes × classes.
///
/// As JSON it is `{"classes": 3, "rows": [[0, 4, 2, 1], [1, 9], []]}`: of each true class the
/// predicted classes in rising order, each followed by its number of samples. The dense form of
/// older files, `[[4, 0, 1], [0, 9, 0], [0, 0, 0]]`, is read as well.
///
/// ```
/// use counterweight_core::eval::Confusion;
/// let confusion = Confusion::from_dense(&[vec![4, 0, 1], vec![0, 9, 0], vec![0, 0, 0]]).unwrap();
/// assert_eq!(confusion.row(0), [(0, 4), (2, 1)]);
/// assert_eq!((confusion.get(1, 1), confusion.get(1, 2)), (9, 0));
/// assert_eq!(confusion.predicted(), [4, 9, 1]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Where the cells of each true class end, shape [classes].
    ends: Vec<usize>,
    /// Cells of all true classes one after the other, within each by rising prediction.
    cells: Vec<ConfusionCell>,
}

impl Confusion {
    /// Counts `pairs` of a true and a predicted class, one a sample, in any order.
    ///
    /// # Errors
    /// [`TrainError::Request`] if a pair names none of the `classes`.
    pub fn from_pairs(classes: usize, pairs: impl IntoIterator<Item = (u32, u32)>) -> Result<Self> {
        let mut pairs: Vec<(u32, u32)> = pairs.into_iter().collect();
        pairs.sort_unstable();
        let mut confusion = Self::default();
        let mut met = pairs.chunk_by(|a, b| a == b).peekable();
        for truth in 0..classes {
            while let Some(equal) = met.next_if(|equal| equal[0].0 as usize == truth) {
                confusion.cells.push((equal[0].1, equal.len() as u32));
            }
            confusion.ends.push(confusion.cells.len());
        }
        let beyond = confusion.cells.iter().map(|cell| cell.0).find(|&p| p as usize >= classes);
        match met.peek().map(|equal| equal[0].0).or(beyond) {
            Some(class) => Err(outside(class, classes).into()),
            None => Ok(confusion),
        }
    }

    /// Of a dense matrix, indexed by the true class and then by the predicted one.
    ///
    /// # Errors
    /// [`TrainError::Request`] if it is not square.
    pub fn from_dense(rows: &[Vec<u32>]) -> Result<Self> {
        let mut confusion = Self::default();
        for row in rows {
            if row.len() != rows.len() {
                let reason =
                    format!("a row of {} numbers does not fit {} classes", row.len(), rows.len());
                return Err(TrainError::Request(reason).into());
            }
            confusion.push_dense(row);
        }
        Ok(confusion)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.ends.len()
    }

    /// Samples of class `truth` that were taken for class `prediction`; 0 where there is no such
    /// class.
    pub fn get(&self, truth: usize, prediction: usize) -> u32 {
        let row = self.row(truth);
        let place = row.binary_search_by_key(&prediction, |cell| cell.0 as usize);
        place.map_or(0, |place| row[place].1)
    }

    /// What the samples of class `truth` were taken for, by rising prediction; empty where there
    /// is no such class.
    pub fn row(&self, truth: usize) -> &[ConfusionCell] {
        let Some(&end) = self.ends.get(truth) else { return &[] };
        let start = if truth == 0 { 0 } else { self.ends[truth - 1] };
        &self.cells[start..end]
    }

    /// [`Confusion::row`] of every class, in label order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[ConfusionCell]> {
        (0..self.classes()).map(|truth| self.row(truth))
    }

    /// Every cell that is not zero: true class, predicted class, samples.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, u32)> {
        self.rows().enumerate().flat_map(|(truth, row)| {
            row.iter().map(move |&(prediction, count)| (truth, prediction as usize, count))
        })
    }

    /// Samples of class `truth`.
    pub fn samples(&self, truth: usize) -> usize {
        self.row(truth).iter().map(|cell| cell.1 as usize).sum()
    }

    /// Samples of class `truth` that were taken for it.
    pub fn correct(&self, truth: usize) -> usize {
        self.get(truth, truth) as usize
    }

    /// Samples of whatever class that were taken for each class, shape `[classes]`.
    pub fn predicted(&self) -> Vec<usize> {
        let mut sums = vec![0; self.classes()];
        for &(prediction, count) in &self.cells {
            sums[prediction as usize] += count as usize;
        }
        sums
    }

    fn push_dense(&mut self, row: &[u32]) {
        let cells = (0..).zip(row).filter(|(_, count)| **count > 0);
        self.cells.extend(cells.map(|(prediction, &count)| (prediction, count)));
        self.ends.push(self.cells.len());
    }

    /// Adds a row as it stands in a file; the reason if it is none.
    fn push_flat(&mut self, row: &[u32], classes: usize) -> std::result::Result<(), String> {
        if !row.len().is_multiple_of(2) {
            return Err("a row of the confusion matrix has a prediction without a count".into());
        }
        let start = self.cells.len();
        for cell in row.chunks_exact(2) {
            let (prediction, count) = (cell[0], cell[1]);
            if prediction as usize >= classes {
                return Err(outside(prediction, classes).to_string());
            }
            if self.cells[start..].last().is_some_and(|before| before.0 >= prediction) {
                return Err("predictions of the confusion matrix are not in rising order".into());
            }
            if count > 0 {
                self.cells.push((prediction, count));
            }
        }
        self.ends.push(self.cells.len());
        Ok(())
    }
}

fn outside(class: u32, classes: usize) -> TrainError {
    TrainError::Request(format!("class {class} is none of the {classes} of the confusion matrix"))
}

/// A row as it is written: predictions and counts in turn.
struct Flat<'a>(&'a [ConfusionCell]);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut numbers = serializer.serialize_seq(Some(2 * self.0.len()))?;
        for (prediction, count) in self.0 {
            numbers.serialize_element(prediction)?;
            numbers.serialize_element(count)?;
        }
        numbers.end()
    }
}

/// All rows as they are written.
struct Rows<'a>(&'a Confusion);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.rows().map(Flat))
    }
}

impl Serialize for Confusion {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Confusion", 2)?;
        fields.serialize_field("classes", &self.classes())?;
        fields.serialize_field("rows", &Rows(self))?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Confusion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

/// Reads the form of today and the dense one. A row at a time is held besides the result.
struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Confusion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a confusion matrix")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> std::result::Result<Confusion, A::Error> {
        let mut confusion = Confusion::default();
        let mut lengths = None;
        while let Some(row) = rows.next_element::<Vec<u32>>()? {
            if *lengths.get_or_insert(row.len()) != row.len() {
                return Err(A::Error::custom("rows of the confusion matrix differ in length"));
            }
            confusion.push_dense(&row);
        }
        match lengths.unwrap_or(0) == confusion.classes() {
            true => Ok(confusion),
            false => Err(A::Error::custom("the confusion matrix is not square")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Confusion, A::Error> {
        let (mut classes, mut rows) = (None::<usize>, None::<Vec<Vec<u32>>>);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "classes" => classes = Some(map.next_value()?),
                "rows" => rows = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let classes = classes.ok_or_else(|| A::Error::missing_field("classes"))?;
        let rows = rows.ok_or_else(|| A::Error::missing_field("rows"))?;
        if rows.len() != classes {
            let reason =
                format!("{} rows of the confusion matrix for {classes} classes", rows.len());
            return Err(A::Error::custom(reason));
        }
        let mut confusion = Confusion::default();
        for row in &rows {
            confusion.push_flat(row, classes).map_err(A::Error::custom)?;
        }
        Ok(confusion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_in_whatever_order_they_come() {
        let pairs = [(2, 0), (0, 2), (0, 0), (2, 0), (0, 2), (0, 2)];
        let confusion = Confusion::from_pairs(4, pairs).unwrap();
        let dense = [vec![1, 0, 3, 0], vec![0; 4], vec![2, 0, 0, 0], vec![0; 4]];
        assert_eq!(confusion, Confusion::from_dense(&dense).unwrap());
        for (truth, row) in dense.iter().enumerate() {
            assert!(row.iter().enumerate().all(|(p, count)| confusion.get(truth, p) == *count));
        }
        assert_eq!((confusion.samples(0), confusion.correct(0), confusion.correct(2)), (4, 1, 0));
        assert_eq!(confusion.predicted(), [3, 0, 3, 0]);
        assert_eq!(confusion.cells().collect::<Vec<_>>(), [(0, 0, 1), (0, 2, 3), (2, 0, 2)]);
        assert_eq!((confusion.get(9, 0), confusion.row(4)), (0, [].as_slice()));
        for pair in [(4, 0), (0, 4)] {
            let error = Confusion::from_pairs(4, [pair]).unwrap_err().to_string();
            assert!(error.contains("class 4"), "{error}");
        }
        assert!(Confusion::from_dense(&[vec![1, 2]]).is_err());
    }

    #[test]
    fn it_is_written_without_zeros_and_read_in_both_forms() {
        let dense = "[[4, 0, 1], [0, 9, 0], [0, 0, 0]]";
        let old: Confusion = serde_json::from_str(dense).unwrap();
        let text = serde_json::to_string(&old).unwrap();
        assert_eq!(text, r#"{"classes":3,"rows":[[0,4,2,1],[1,9],[]]}"#);
        assert_eq!(serde_json::from_str::<Confusion>(&text).unwrap(), old);
        assert_eq!(serde_json::from_str::<Confusion>("[]").unwrap(), Confusion::default());
        // Results are flattened into reports, which hands over what was read as a tree.
        let value: serde_json::Value = serde_json::from_str(dense).unwrap();
        assert_eq!(serde_json::from_value::<Confusion>(value).unwrap(), old);
    }

    #[test]
    fn what_is_no_confusion_matrix_is_refused() {
        for text in [
            "[[1, 0], [1]]",
            "[[1, 0, 0], [1, 0, 0]]",
            "7",
            r#"{"classes": 2, "rows": [[0, 1]]}"#,
            r#"{"classes": 1, "rows": [[0]]}"#,
            r#"{"classes": 1, "rows": [[1, 1]]}"#,
            r#"{"classes": 2, "rows": [[1, 1, 0, 1], []]}"#,
            r#"{"rows": []}"#,
        ] {
            assert!(serde_json::from_str::<Confusion>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_classes_take_room_for_their_samples_alone() {
        let classes = 8142;
        let pairs = (0..24_426).map(|i| (i % classes, (i * 7) % classes));
        let confusion = Confusion::from_pairs(classes as usize, pairs).unwrap();
        assert_eq!(confusion.cells.len(), 8142);
        assert!(serde_json::to_string(&confusion).unwrap().len() < 200_000);
    }
}
