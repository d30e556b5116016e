//! Charts, tables and controls that know nothing of the application.

mod chart;
mod class_bars;
mod line_chart;
mod norm_bars;
pub mod numbers;

pub use class_bars::{BarOrder, ClassBar, ClassBars, ClassBarsResponse};
pub use line_chart::{LineChart, Series};
pub use norm_bars::{NormBar, NormBars, NormBarsResponse};
