//! Charts, tables and controls that know nothing of the application.

mod chart;
mod class_bars;
mod confusion;
mod data_table;
mod empty_state;
mod group_chips;
mod heat_map;
mod icon_button;
mod labels;
mod line_chart;
mod norm_bars;
pub mod numbers;
mod progress_strip;
mod raster;
mod reliability;
mod scatter;
mod setting_row;
mod verdict;
mod waiting;

pub use class_bars::{BarOrder, ClassBar, ClassBars, ClassBarsResponse};
pub use confusion::{ConfusionMatrix, ConfusionResponse, MatrixOrder};
pub use data_table::{Column, DataTable, DataTableResponse, SortKey, TableState};
pub use empty_state::empty_state;
pub use group_chips::{before_after, group_chips, group_dot, metric};
pub use heat_map::HeatMap;
pub use icon_button::IconButton;
pub use labels::ClassLabel;
pub use line_chart::{LineChart, Series};
pub use norm_bars::{NormBar, NormBars, NormBarsResponse};
pub use progress_strip::{ProgressStrip, ProgressStripResponse};
pub use reliability::Reliability;
pub use scatter::{Scatter, ScatterPoint, ScatterResponse};
pub use setting_row::{SettingRow, SettingRowResponse, setting_row};
pub use verdict::{VerdictStrip, mark};
pub use waiting::{turning_arc, waiting};
