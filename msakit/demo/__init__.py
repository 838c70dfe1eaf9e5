"""A page for the browser on which a run answers for clips: uploaded, or recorded there and then."""
