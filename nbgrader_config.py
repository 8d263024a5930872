"""nbgrader's view of the course: a section is an assignment; solutions/ becomes chapters/; all else is under build/."""

from pathlib import Path

course = Path(__file__).resolve().parent

c = get_config()
c.CourseDirectory.course_id = "systems-that-last"
c.CourseDirectory.root = str(course)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "chapters"
c.CourseDirectory.submitted_directory = "build/submitted"
c.CourseDirectory.autograded_directory = "build/autograded"
c.CourseDirectory.feedback_directory = "build/feedback"
c.CourseDirectory.solution_directory = "build/solution"
c.CourseDirectory.db_url = f"sqlite:///{course / 'build' / 'gradebook.db'}"
# Nothing is exchanged through a shared folder, but nbgrader's panels complain without a writable one.
c.Exchange.root = str(course / "build" / "exchange")
# nbgrader copies whatever lies beside a notebook into the release: the sources there are the solutions.
c.CourseDirectory.ignore = [".*", "*.py", "*.pyc", "__pycache__", "feedback"]

# Grading is the engine's: points come from its verdicts, never from what a submitted notebook printed.
engine = "graders.engine.nbgrader_plugins"
c.Autograde.exporter_class = f"{engine}.SubmissionExporter"
c.Autograde.pre_convert_hook = f"{engine}.prepare"
c.Autograde.sanitize_preprocessors = [f"{engine}.GradeWithEngine"]
c.Autograde.autograde_preprocessors = [
    f"{engine}.SaveVerdict",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.ExportApp.plugin_class = f"{engine}.PlainExport"
