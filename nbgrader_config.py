"""nbgrader's view of the course: a section is an assignment, solutions/ is released as chapters/, the rest is in build/."""

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
